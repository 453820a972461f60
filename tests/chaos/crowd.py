#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What crowds do to a supervised server.

Usage: crowd.py FOLKMOOT_BINARY SOURCE_DIR overload|readers [options]

overload: twice as many clients as the server runs at once say what it can do, in answers a second; then requests
arrive at ten times that rate, whatever becomes of them. Printed: goodput beside the peak, the refusals,
the wait of those who were let in, memory. Exit status 0: at least 90 % of the peak, and every refusal is a 429 with
Retry-After.

readers: a thousand clients ask for streams that they do not read, and a thousand more vanish at a random moment,
while others are served. Exit status 0: pages, queue and memory come back to what they were.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from serve_lib import DEMO, PROMPT, Server, eventually  # noqa: E402  pylint: disable=wrong-import-position
from chaos import Samples, percentile  # noqa: E402  pylint: disable=wrong-import-position


def http_request(body):
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    return head.encode() + data


class Answers:
    """What became of requests."""

    def __init__(self):
        self.begin = time.monotonic()
        self.served, self.refused, self.bad = [], 0, []  # served: (when it ended, seconds it took)

    def rate(self, seconds):
        """Answers a second that ended in the later three quarters of so many seconds."""
        ended = sum(0.25 * seconds <= when - self.begin < seconds for when, _ in self.served)
        return ended / (0.75 * seconds)

    def waits(self, share):
        return round(percentile([took for _, took in self.served], share), 3)

    async def ask(self, port, data, timeout):
        begin = time.monotonic()
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answer = await asyncio.wait_for(reader.read(), timeout)
            head, _, body = answer.partition(b"\r\n\r\n")
            status = head.split(b" ", 2)[1]
            if status == b"200" and json.loads(body)["choices"][0]["finish_reason"] == "length":
                self.served.append((time.monotonic(), time.monotonic() - begin))
            elif status == b"429" and b"\r\nretry-after: " in head.lower():
                self.refused += 1
            else:
                self.bad.append(answer[:300])
        except (OSError, ValueError, IndexError, KeyError, asyncio.TimeoutError) as error:
            self.bad.append(repr(error))
        finally:
            if writer is not None:
                writer.close()


async def closed_loop(port, data, clients, seconds):
    """`clients` at a time, one request after the other."""
    answers, end = Answers(), time.monotonic() + seconds

    async def client():
        while time.monotonic() < end:
            await answers.ask(port, data, 300)

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def open_loop(port, data, rate, seconds, seed):
    """Requests at random moments, `rate` a second in the mean, whatever becomes of earlier ones."""
    answers, numbers, tasks = Answers(), random.Random(seed), set()
    now, end = time.monotonic(), time.monotonic() + seconds
    while now < end:
        now += numbers.expovariate(rate)
        await asyncio.sleep(max(0, now - time.monotonic()))
        task = asyncio.create_task(answers.ask(port, data, 300))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return answers


def overload(options):
    body = {"prompt": PROMPT, "max_tokens": options.tokens, "temperature": 0, "ignore_eos": True}
    data = http_request(body)
    flags = ("--max-num-seqs", str(options.running), "--max-queued-requests", str(4 * options.running))
    with Server(*flags, supervised=True, ranks=options.ranks, model=options.model) as server:
        samples = Samples(server, 1)
        peak = asyncio.run(closed_loop(server.port, data, 2 * options.running, options.seconds))
        rate = peak.rate(options.seconds)
        before = samples.now()
        samples.start()
        answers = asyncio.run(open_loop(server.port, data, 10 * rate, options.seconds, options.seed))
        samples.stop()
        goodput = answers.rate(options.seconds)
        result = {
            "peak_requests_a_second": round(rate, 2),
            "asked_a_second": round((len(answers.served) + answers.refused + len(answers.bad)) / options.seconds, 1),
            "goodput_of_peak": round(goodput / rate, 3),
            "served": len(answers.served),
            "refused_429": answers.refused,
            "anything_else": len(answers.bad),
            "peak_p50_s": peak.waits(0.5),
            "admitted_p50_s": answers.waits(0.5),
            "admitted_p99_s": answers.waits(0.99),
            "front_end_mib_before": before["front_end_kib"] >> 10,
            "front_end_mib_most": max(s["front_end_kib"] for _, s in samples.taken) >> 10,
            "front_end_mib_after": samples.now()["front_end_kib"] >> 10,
            "idle_at_the_end": server.wait_idle() == (0, 0, 0),
        }
        good = goodput >= 0.9 * rate and not answers.bad and not peak.bad and result["idle_at_the_end"]
    return result, answers.bad + peak.bad, good


def reader_socket(port, body):
    """A client with a small window who has asked."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    sock.sendall(http_request({**body, "stream": True}))
    return sock


def readers(options):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    numbers, complaints = random.Random(options.seed), []
    body = {"prompt": PROMPT, "max_tokens": 400, "ignore_eos": True, "logprobs": 5}
    good = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    with Server("--max-queued-requests", "4096", supervised=True, ranks=options.ranks, model=options.model) as server:
        samples = Samples(server, 0.5)
        expected = server.good("/v1/completions", good).json["choices"]
        # Once before, so that what stays is what the second crowd leaves.
        before, waits = None, []
        for crowd in (100, options.readers):
            if crowd == options.readers:
                before = samples.now()
                samples.start()
            slow = []
            for index in range(crowd):
                slow.append(reader_socket(server.port, {**body, "seed": index}))
                vanishing = reader_socket(server.port, {**body, "seed": index})
                if numbers.random() < 0.5:
                    vanishing.settimeout(0.05)
                    try:
                        vanishing.recv(numbers.randrange(1, 4096))
                    except TimeoutError:
                        pass
                vanishing.close()
                if index % 50 == 0:
                    begin = time.monotonic()
                    if server.good("/v1/completions", good, timeout=300).json["choices"] != expected:
                        complaints.append(f"another answer beside {index} readers")
                    waits.append(time.monotonic() - begin)
            for sock in slow:
                sock.close()
            left = time.monotonic()
            idle = server.wait_idle(60)
            back = time.monotonic() - left
            eventually(lambda: samples.now()["descriptors"] <= (before or samples.now())["descriptors"], 10)
        samples.stop()
        after = samples.now()
        result = {
            "slow_readers": options.readers,
            "vanished": options.readers,
            "idle_after_s": round(back, 3),
            "activity": idle,
            "others_p50_s": round(percentile(waits, 0.5), 3),
            "others_max_s": round(max(waits), 3),
            "front_end_mib_before": before["front_end_kib"] >> 10,
            "front_end_mib_most": max(s["front_end_kib"] for _, s in samples.taken) >> 10,
            "front_end_mib_after": after["front_end_kib"] >> 10,
            "descriptors_before": before["descriptors"],
            "descriptors_after": after["descriptors"],
        }
        total = server.blocks()
        if total[0] != 0 or idle != (0, 0, 0):
            complaints.append(f"not idle: {idle}, pages {total}")
        if after["descriptors"] > before["descriptors"]:
            complaints.append("descriptors stay")
        if server.good("/v1/completions", good).json["choices"] != expected:
            complaints.append("another answer afterwards")
    return result, complaints, not complaints


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("source")
    parser.add_argument("crowd", choices=["overload", "readers"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="overload: how long each half")
    parser.add_argument("--running", type=int, default=16, help="overload: --max-num-seqs")
    parser.add_argument("--tokens", type=int, default=800, help="overload: of an answer")
    parser.add_argument("--readers", type=int, default=1000, help="readers: of each kind")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    result, complaints, good = (overload if options.crowd == "overload" else readers)(options)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")
    for complaint in complaints[:20]:
        print(complaint, file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
