# SPDX-License-Identifier: Apache-2.0
"""Clients of a server that is being broken: what they ask, and what they hear."""

import array
import http.client
import random
import threading
import time

from serve_lib import PROMPT, Refusal, eventually

COMPLETIONS = "/v1/completions"
PATIENCE = 120  # seconds


def request_of(index):
    """Mixed load: short and long, drawn and greedy, streams and whole answers, several choices."""
    numbers = random.Random(index)
    body = {
        "prompt": f"{PROMPT} " * numbers.randint(1, 30) + str(index),
        "max_tokens": numbers.randint(20, 400),
        "ignore_eos": True,
    }
    body |= {"temperature": 0} if index % 3 == 0 else {"temperature": 0.9, "seed": index}
    if index % 7 == 0:
        body["logprobs"] = 3
    if index % 11 == 0:
        body["n"] = 2
    if index % 5 == 0:
        body["frequency_penalty"] = 0.5
    return body, index % 4 != 3


class Heard:
    """What one client heard, and when."""

    def __init__(self):
        self.choices, self.times = {}, []
        self.error = None  # why the request is lost
        self.taken = False  # the server has begun to answer
        self.refused = False  # it never was taken: the server goes or is not there, and says so
        self.last = 0  # number of the last event
        self.returns = 0  # how often the client came back for the rest

    def hear_event(self, event):
        self.times.append(time.monotonic())
        if "error" in event:
            self.error = event["error"]
        for choice in event.get("choices", []):
            kept = self.choices.setdefault(choice["index"], [])
            kept.append((choice["text"], str(choice["logprobs"]), choice["finish_reason"]))

    def hear_whole(self, reply):
        if reply.status != 200:
            raise Refusal(reply.status, reply.error)
        self.times.append(time.monotonic())
        self.choices = {c["index"]: (c["text"], str(c["logprobs"])) for c in reply.exact["choices"]}


def listen(server, heard, body, streams, name):
    """One connection: the request, or what is left of its answer. True: that was the end of it."""
    path, headers = COMPLETIONS, {"X-Request-Id": name}
    if heard.returns:
        path, body = f"/v1/requests/{name}", None
        headers |= {"Last-Event-ID": str(heard.last)} if streams else {}
    if not streams:
        heard.hear_whole(server.request("POST" if body else "GET", path, body, headers=headers, timeout=PATIENCE))
        return True
    stream = server.stream(path, body, headers, timeout=PATIENCE)
    try:
        heard.taken = True
        for event in stream:
            heard.hear_event(event)
            heard.last = stream.last
    finally:
        stream.connection.close()
    return stream.done or heard.error is not None


def ask(server, index, name=None):
    """A request. With a name its client comes back for the rest whenever the connection breaks, else it never does."""
    body, streams = request_of(index)
    heard, end = Heard(), time.monotonic() + PATIENCE
    while True:
        final = name is None or time.monotonic() > end
        try:
            if listen(server, heard, body, streams, name):
                return heard
            problem = "the stream ended early"
        except Refusal as refusal:
            heard.refused = not heard.taken and refusal.status == (404 if heard.returns else 503)
            problem, final = str(refusal), final or not heard.returns or refusal.status != 503
        except ConnectionRefusedError as error:
            heard.refused = not heard.taken and not heard.returns
            problem = repr(error)
        except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
            problem = repr(error)
        if heard.refused:
            return heard
        if final:
            heard.error = problem
            return heard
        heard.returns += 1
        time.sleep(0.05)


class Load:
    """Clients that ask one request after the other until they are told to stop."""

    def __init__(self, server, options, expected):
        self.server, self.kinds, self.expected = server, options.kinds, expected
        self.think, self.names = options.think, options.kind == "front-end"
        self.numbers, self.lock = random.Random(options.seed), threading.Lock()
        self.stopping = False
        self.going, self.asking = threading.Event(), 0
        self.going.set()
        self.asked = self.done = self.lost = self.differing = self.refused = self.returns = 0
        self.complaints, self.times = [], []
        self.under_way = {}  # {number of the asking: index}
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(options.clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stopping:
            with self.lock:
                index = self.numbers.randrange(self.kinds)
                pause = self.numbers.uniform(0, 2 * self.think)
            time.sleep(pause)
            with self.lock:
                self.asking += 1
                self.asked += 1
                asking = self.asked
            if not self.going.is_set():
                with self.lock:
                    self.asking -= 1
                self.going.wait()
                continue
            self.under_way[asking] = index
            heard = ask(self.server, index, f"chaos-{asking}" if self.names else None)
            with self.lock:
                self.asking -= 1
                del self.under_way[asking]
                self.count(index, heard)
            if heard.refused:
                time.sleep(0.1)

    def count(self, index, heard):
        self.returns += heard.returns
        if heard.refused:
            self.refused += 1
            return
        self.done += 1
        self.times.append(array.array("d", heard.times))
        if heard.error is not None:
            self.lost += 1
            self.complaints.append(f"request {index}: {heard.error}")
        elif heard.choices != self.expected[index].choices:
            self.differing += 1
            self.complaints.append(f"request {index} heard something else")

    def rest(self):
        """Nobody asks until `going` is set again."""
        self.going.clear()
        if not eventually(lambda: self.asking == 0, 180):
            raise AssertionError("a request does not end")

    def stop(self):
        self.stopping = True
        end = time.monotonic() + 180
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        for asking, index in self.under_way.items():
            self.complaints.append(f"request {index} (chaos-{asking}) does not end")
        return sum(thread.is_alive() for thread in self.threads)

    def pauses(self, strikes):
        """By deed: the longest time until a stream that was under way heard more."""
        longest = []
        for when in strikes:
            waits = []
            for times in self.times:
                before = [t for t in times if t <= when]
                after = [t for t in times if t > when]
                if before and after:
                    waits.append(after[0] - when)
            if waits:
                longest.append(max(waits))
        return longest
