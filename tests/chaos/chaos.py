#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills processes of a supervised server under load, and counts what clients lose.

Usage: chaos.py FOLKMOOT_BINARY SOURCE_DIR [--kills 100] [--kind rank] [--seed 1] ...

A run without faults says what every request must hear. Then the same requests come again and again, some tens at a
time, while processes die at random moments. A request counts as lost when its answer does not end as it should, and
as differing when it hears anything else than without faults. A client never asks twice. Exit status 0: nothing was
lost, nothing differed, and the server drained and was idle.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from serve_lib import DEMO, PROMPT, Server, eventually  # noqa: E402  pylint: disable=wrong-import-position

COMPLETIONS = "/v1/completions"


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
        self.choices, self.error, self.times = {}, None, []


def ask(server, index):
    body, streams = request_of(index)
    heard = Heard()
    try:
        if streams:
            stream = server.stream(COMPLETIONS, body, timeout=120)
            for event in stream:
                heard.times.append(time.monotonic())
                if "error" in event:
                    heard.error = event["error"]
                for choice in event.get("choices", []):
                    kept = heard.choices.setdefault(choice["index"], [])
                    kept.append((choice["text"], str(choice["logprobs"]), choice["finish_reason"]))
            if not stream.done and heard.error is None:
                heard.error = "the stream ended early"
            stream.connection.close()
        else:
            reply = server.post(COMPLETIONS, body, timeout=120)
            heard.times.append(time.monotonic())
            if reply.status != 200:
                heard.error = reply.error
            else:
                heard.choices = {c["index"]: (c["text"], str(c["logprobs"])) for c in reply.exact["choices"]}
    except (OSError, AssertionError, ValueError) as error:
        heard.error = repr(error)
    return heard


class Load:
    """Clients that ask one request after the other until they are told to stop."""

    def __init__(self, server, clients, kinds, expected, seed):
        self.server, self.kinds, self.expected = server, kinds, expected
        self.numbers, self.lock = random.Random(seed), threading.Lock()
        self.stopping = False
        self.done = self.lost = self.differing = 0
        self.complaints, self.times = [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stopping:
            with self.lock:
                index = self.numbers.randrange(self.kinds)
            heard = ask(self.server, index)
            with self.lock:
                self.done += 1
                self.times.append(heard.times)
                if heard.error is not None:
                    self.lost += 1
                    self.complaints.append(f"request {index}: {heard.error}")
                elif heard.choices != self.expected[index].choices:
                    self.differing += 1
                    self.complaints.append(f"request {index} heard something else")

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(180)
        return sum(thread.is_alive() for thread in self.threads)


class Villain:
    def __init__(self, server, kind, numbers):
        self.server, self.kind, self.numbers = server, kind, numbers

    def ranks(self):
        found = self.server.rank_processes()
        return found if len(found) == self.server.ranks else None

    def strike(self):
        """Does its deed once the engine is whole; when that was."""
        ranks = eventually(self.ranks, 60)
        if not ranks:
            raise AssertionError(f"the engine does not come back: {self.server.log()[-3000:]}")
        victims = self.numbers.sample(sorted(ranks.values()), 2)
        when = time.monotonic()
        if self.kind == "stop":
            os.kill(victims[0], signal.SIGSTOP)
        elif self.kind == "launcher":
            os.kill([pid for pid, _ in self.server.own_processes("mpirun")][0], signal.SIGKILL)
        else:
            os.kill(victims[0], signal.SIGKILL)
        if self.kind == "two":
            os.kill(victims[1], signal.SIGKILL)
        if self.kind == "twice":  # while the next engine is on its way
            time.sleep(self.numbers.uniform(0.05, 1.0))
            for pid in self.server.rank_processes().values():
                os.kill(pid, signal.SIGKILL)
                break
        return when


def pauses(load, strikes):
    """By deed: the longest time until a stream that was under way heard more."""
    longest = []
    for when in strikes:
        waits = []
        for times in load.times:
            before = [t for t in times if t <= when]
            after = [t for t in times if t > when]
            if before and after:
                waits.append(after[0] - when)
        if waits:
            longest.append(max(waits))
    return longest


def resources(server):
    """Resident memory (KiB), descriptors and threads of the supervisor and the front end."""
    total = {"rss_kib": 0, "descriptors": 0, "threads": 0}
    for pid, environ in server.own_processes():
        if b"OMPI_COMM_WORLD_RANK" in environ or b"OMPI_UNIVERSE_SIZE" in environ:
            continue
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = file.read()
            total["rss_kib"] += int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
            total["threads"] += int(re.search(r"Threads:\s+(\d+)", status).group(1))
            total["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, AttributeError):
            continue
    total["shared"] = len([n for n in os.listdir("/dev/shm") if n.startswith("folkmoot-")])
    return total


def slope_percent_an_hour(samples, name):
    """Least squares over the later two thirds, relative to their mean."""
    samples = samples[len(samples) // 3 :]
    if len(samples) < 3:
        return None
    xs, ys = [s[0] / 3600 for s in samples], [s[1][name] for s in samples]
    mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread if spread else 0
    return 100 * slope / mean_y if mean_y else 0


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def run(options):
    numbers = random.Random(options.seed)
    with Server("--shutdown-timeout", "60", supervised=True, ranks=options.ranks, model=options.model) as server:
        expected = [ask(server, index) for index in range(options.kinds)]
        for index, heard in enumerate(expected):
            if heard.error is not None:
                raise AssertionError(f"request {index} fails without faults: {heard.error}")
        load = Load(server, options.clients, options.kinds, expected, options.seed)
        villain = Villain(server, options.kind, numbers)
        begin, samples, strikes = time.monotonic(), [], []
        for strike in range(options.kills):
            time.sleep(numbers.uniform(options.least_pause, options.most_pause))
            strikes.append(villain.strike())
            samples.append((time.monotonic() - begin, resources(server)))
            if sys.stderr.isatty():
                print(f"\r{strike + 1} of {options.kills}", end="", file=sys.stderr, flush=True)
        eventually(lambda: server.get("/ready").status == 200, 60)
        hanging = load.stop()
        longest = pauses(load, strikes)
        restarts = server.metric("moe:engine_restarts_total")
        idle = server.wait_idle()
        server.process.send_signal(signal.SIGTERM)
        status = server.wait(60)
        if options.log:
            with open(options.log, "w", encoding="utf-8") as file:
                file.write(server.log())
    result = {
        "kind": options.kind,
        "seed": options.seed,
        "ranks": options.ranks,
        "clients": options.clients,
        "kills": options.kills,
        "restarts": restarts,
        "seconds": round(time.monotonic() - begin, 1),
        "requests": load.done,
        "lost": load.lost + hanging,
        "differing": load.differing,
        "hanging": hanging,
        "pause_p50": round(percentile(longest, 0.5), 2),
        "pause_p99": round(percentile(longest, 0.99), 2),
        "pause_max": round(max(longest, default=float("nan")), 2),
        "idle_at_the_end": idle == (0, 0, 0),
        "drain_status": status,
        "slopes_percent_an_hour": {
            name: slope_percent_an_hour(samples, name) for name in ("rss_kib", "descriptors", "threads", "shared")
        },
        "first_sample": samples[0][1] if samples else None,
        "last_sample": samples[-1][1] if samples else None,
    }
    return result, load.complaints


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("source")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--kind",
        choices=["rank", "two", "twice", "launcher", "stop"],
        default="rank",
        help="a rank; two at once; a second one while the engine comes back; mpirun; a rank that stops",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kinds", type=int, default=64, help="different requests")
    parser.add_argument("--least-pause", type=float, default=0.5, help="seconds between deeds")
    parser.add_argument("--most-pause", type=float, default=3.0)
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--log", help="where the server's log goes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    result, complaints = run(options)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")
    for complaint in complaints[:20]:
        print(complaint, file=sys.stderr)
    bad = result["lost"] or result["differing"] or result["drain_status"] != 0
    sys.exit(1 if bad or not result["idle_at_the_end"] else 0)


if __name__ == "__main__":
    main()
