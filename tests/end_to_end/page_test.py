# SPDX-License-Identifier: Apache-2.0
"""The page at "/" in a real headless Chromium against a live server.

    page_test.py URL [--api-key KEY] [--screenshot FILE.png]

Sends a message, sees the answer stream in, and looks at the painted picture of the experts' load. With a
key it must first be asked for it. Needs nothing but the standard library and a browser; exit status 77
when there is none."""

import argparse
import base64
import json
import os
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chromium  # noqa: E402

FAILURES = []


def check(condition, what):
    print("%s: %s" % ("ok" if condition else "FAILED", what), flush=True)
    if not condition:
        FAILURES.append(what)


def check_headers(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        policy = response.headers.get("Content-Security-Policy", "")
        body = response.read().decode()
    check("default-src 'none'" in policy and "'sha256-" in policy and "unsafe" not in policy,
          "the page comes with a strict Content-Security-Policy")
    check("http://" not in body.replace("http://www.w3.org/", "") and "https://" not in body,
          "the page names no outside resource")
    check("innerHTML" not in body and "insertAdjacentHTML" not in body and "document.write" not in body,
          "the page never parses text as HTML")


def give_key(page, key):
    page.wait("!document.getElementById('settings').hidden")
    check(page.evaluate("document.activeElement.id") == "key", "without a key the page asks for it")
    page.type(key)
    page.press("Enter")  # a form of several fields: leaves the field alone
    page.evaluate("document.getElementById('key').blur()")
    page.wait("document.getElementById('model').textContent")
    page.evaluate("document.getElementById('tune').click()")
    stored = page.evaluate("JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])")
    check(stored == '[0,0,""]', "the key is kept in memory only")


def set_field(page, field, value):
    page.evaluate("document.getElementById(%s).value = %s" % (json.dumps(field), json.dumps(value)))


def ask(page, text):
    """Types and sends; returns when the answer is complete."""
    answers = "document.querySelectorAll('#log .answer').length"
    before = page.evaluate(answers)
    page.evaluate("document.getElementById('say').focus()")
    page.type(text)
    page.press("Enter")
    # A short answer may be over before we look: it stays, the button that stops it does not.
    page.wait("%s > %d || document.querySelector('.notice.bad')" % (answers, before))
    page.wait("!document.getElementById('send').hidden", 120)


def check_streaming(page):
    page.evaluate("""window.lengths = new Set();
        new MutationObserver(() => {
          const node = document.querySelector('#log .answer:last-of-type p');
          if (node) lengths.add(node.textContent.length);
        }).observe(document.getElementById('log'), {childList: true, subtree: true, characterData: true});""")
    ask(page, "And God said unto Moses")
    check(page.evaluate("document.querySelectorAll('.notice.bad').length") == 0, "no error is shown")
    answer = page.evaluate("document.querySelector('#log .answer:last-of-type p').textContent")
    check(len(answer) > len("And God said unto Moses") + 40, "an answer of %d characters" % len(answer))
    steps = page.evaluate("lengths.size")
    check(steps >= 2, "it came in %d pieces" % steps)
    facts = page.evaluate("document.querySelector('#log .answer:last-of-type .facts').textContent")
    check("first token after" in facts and "tokens/s" in facts, "its facts: " + facts)


def check_picture(page):
    page.wait("Number(document.getElementById('map').dataset.frames) >= 3")
    page.wait("Number(document.getElementById('speed').textContent.replace(/,/g, '')) >= 0")
    counts = page.evaluate("""(async () => {
        await new Promise((done) => setTimeout(done, 700));  // the picture comes to rest
        const map = document.getElementById('map');
        const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;
        const colours = new Map();
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] === 255) {
            const key = data[i] << 16 | data[i + 1] << 8 | data[i + 2];
            colours.set(key, (colours.get(key) || 0) + 1);
          }
        }
        const area = map.width * map.height;
        return {large: [...colours.values()].filter((n) => n > area / 2000).length,
                painted: [...colours.values()].reduce((a, b) => a + b, 0) / area};
    })()""")
    check(counts["painted"] > 0.3, "%.0f %% of the picture is painted" % (100 * counts["painted"]))
    check(counts["large"] >= 4, "the experts' cells have %d different colours" % counts["large"])
    page.evaluate("document.getElementById('map').focus()")
    page.press("ArrowRight")
    page.press("ArrowDown")
    tip = page.evaluate("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    check("layer" in tip and "expert" in tip and "tokens since" in tip, "a cell explains itself: " + repr(tip))
    check(page.evaluate("document.getElementById('cell').textContent") != "", "and does so to screen readers")
    page.evaluate("document.getElementById('map').blur()")


def check_text_is_text(page):
    ask(page, "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>")
    check(page.evaluate("document.querySelectorAll('#log img, #log script').length") == 0,
          "markup in a message stays text")
    check("broken" not in page.evaluate("document.title"), "and runs nothing")


def throttle(page, bytes_per_second):
    """How fast answers reach the page; -1: as they come."""
    page.send("Network.emulateNetworkConditions", offline=False, latency=0,
              downloadThroughput=bytes_per_second, uploadThroughput=-1)


def check_stop(page):
    page.evaluate("document.getElementById('fresh').click()")
    set_field(page, "seed", "1")
    set_field(page, "max_tokens", "800")
    throttle(page, 4000)  # or the answer may be over before the page sees its beginning
    # The page presses the key itself with the first words: from here it might come after the last.
    page.evaluate("""new MutationObserver((changes, observer) => {
        if (document.getElementById('stop').hidden) return;
        if (!document.querySelector('#log .answer .facts')?.textContent) return;
        observer.disconnect();
        document.activeElement.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
      }).observe(document.getElementById('log'),
                 {subtree: true, childList: true, characterData: true}); 0""")
    page.evaluate("document.getElementById('say').focus()")
    page.type("In the beginning")
    page.press("Enter")
    page.wait("document.querySelector('#log .answer .facts')?.textContent"
              " && !document.getElementById('send').hidden", 30)
    facts = page.evaluate("document.querySelector('#log .answer:last-of-type .facts').textContent")
    check("stopped" in facts, "Escape stops an answer: " + facts)
    throttle(page, -1)


def check_theme(page):
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.evaluate("document.getElementById('theme').click()")
    check(page.evaluate(colour) != before, "light and dark differ")
    page.evaluate("document.getElementById('theme').click()")


def check_silence(page, url):
    bad = []
    for event in page.events:
        params = event["params"]
        if event["method"] == "Runtime.exceptionThrown":
            bad.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            if params["entry"]["source"] != "network":  # a 401 or 404 that the page handles
                bad.append(params["entry"]["text"])
        if event["method"] == "Network.requestWillBeSent":
            target = params["request"]["url"]
            if not target.startswith((url, "about:", "data:")):
                bad.append("asked for " + target)
    check(not bad, "no error, no refused resource, no request elsewhere " + "; ".join(bad))


def screenshot(page, path):
    """While the model writes, so that the figures are alive."""
    page.evaluate("document.getElementById('fresh').click()")
    set_field(page, "seed", "7")
    set_field(page, "max_tokens", "110")
    ask(page, "And it came to pass in those days, that")
    set_field(page, "max_tokens", "800")
    page.evaluate("document.getElementById('say').focus()")
    page.type("Blessed are they which")
    page.press("Enter")
    page.wait("document.getElementById('running').textContent !== '0'")
    page.evaluate("new Promise((done) => setTimeout(done, 600))")
    data = page.send("Page.captureScreenshot", format="png")["data"]
    page.press("Escape")
    page.wait("!document.getElementById('send').hidden")
    with open(path, "wb") as file:
        file.write(base64.b64decode(data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--api-key")
    parser.add_argument("--screenshot")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/") + "/"
    program = chromium.find()
    if program is None:
        print("SKIPPED: the page was NOT opened: it needs Chromium (apt-get install chromium)")
        return 77
    check_headers(url)
    page = chromium.Page(program)
    try:
        page.send("Emulation.setDeviceMetricsOverride", width=1360, height=820, deviceScaleFactor=1, mobile=False)
        page.navigate(url)
        if arguments.api_key:
            give_key(page, arguments.api_key)
        page.wait("document.getElementById('model').textContent")
        page.wait("Number(document.getElementById('map').dataset.frames) >= 1")
        # Without it, now and then an answer ends by itself after two tokens; all of these are long.
        set_field(page, "seed", "1")
        set_field(page, "max_tokens", "120")
        check_streaming(page)
        check_picture(page)
        check_text_is_text(page)
        check_theme(page)
        if arguments.screenshot:
            screenshot(page, arguments.screenshot)
        check_stop(page)
        check_silence(page, url)
    finally:
        page.close()
    print("%d failures" % len(FAILURES))
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
