#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills processes of a supervised server under load, and counts what clients lose.

Usage: chaos.py FOLKMOOT_BINARY SOURCE_DIR [--kills 100] [--kind rank] [--seed 1] ...
A soak: chaos.py FOLKMOOT_BINARY SOURCE_DIR --seconds 7200 --least-pause 50 --most-pause 55 --clients 4 --think 4 --rest

A run without faults says what every request must hear. Then the same requests come again and again, some tens at a
time, while processes die at random moments. A request counts as lost when its answer does not end as it should, and
as differing when it hears anything else than without faults. A client never asks twice. Exit status 0: nothing was
lost, nothing differed, and the server drained and was idle.
"""

import argparse
import array
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

    def __init__(self, server, options, expected):
        self.server, self.kinds, self.expected = server, options.kinds, expected
        self.think, seed = options.think, options.seed
        self.numbers, self.lock = random.Random(seed), threading.Lock()
        self.stopping = False
        self.going, self.asking = threading.Event(), 0
        self.going.set()
        self.done = self.lost = self.differing = 0
        self.complaints, self.times = [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(options.clients)]
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
            if not self.going.is_set():
                with self.lock:
                    self.asking -= 1
                self.going.wait()
                continue
            heard = ask(self.server, index)
            with self.lock:
                self.asking -= 1
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
        for thread in self.threads:
            thread.join(180)
        return sum(thread.is_alive() for thread in self.threads)


class Villain:
    def __init__(self, server, kind, spares, numbers):
        self.server, self.kind, self.spares, self.numbers = server, kind, spares, numbers

    def ranks(self):
        """The ranks of an engine that is whole: with spare processes, those that live with the lowest numbers."""
        found = sorted(self.server.rank_processes().items())
        whole = len(found) >= self.server.ranks and (
            not self.spares or self.server.get("/ready").status == 200
        )
        return dict(found[: self.server.ranks]) if whole else None

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
            for _, pid in sorted(self.server.rank_processes().items()):
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


class Samples(threading.Thread):
    """Every so many seconds: memory, descriptors and threads of the processes that outlive the engine."""

    NAMES = ("supervisor_kib", "front_end_kib", "descriptors", "threads", "shared", "files")

    def __init__(self, server, every):
        super().__init__(daemon=True)
        self.server, self.every, self.end = server, every, threading.Event()
        self.begin, self.taken = time.monotonic(), []

    def run(self):
        while not self.end.wait(self.every):
            self.take()

    def take(self):
        self.taken.append((time.monotonic() - self.begin, self.now()))

    def stop(self):
        self.end.set()
        if self.is_alive():
            self.join()

    def now(self):
        total = dict.fromkeys(self.NAMES, 0)
        for pid, environ in self.server.own_processes():
            if b"OMPI_COMM_WORLD_RANK" in environ or b"OMPI_UNIVERSE_SIZE" in environ:
                continue
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    status = file.read()
                name = "supervisor_kib" if pid == self.server.process.pid else "front_end_kib"
                total[name] += int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
                total["threads"] += int(re.search(r"Threads:\s+(\d+)", status).group(1))
                total["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
            except (OSError, AttributeError):
                continue
        runs = [name for name in os.listdir(self.server.work) if name.startswith("folkmoot-")]
        total["shared"] = sum(name.startswith(tuple(runs)) for name in os.listdir("/dev/shm"))
        total["files"] = sum(len(files) for _, _, files in os.walk(self.server.work))
        return total

    def slopes(self):
        """Percent an hour: least squares over the later two thirds, relative to their mean."""
        return {name: self.slope(self.taken[len(self.taken) // 3 :], name) for name in self.NAMES}

    @staticmethod
    def slope(samples, name):
        if len(samples) < 3:
            return None
        xs, ys = [s[0] / 3600 for s in samples], [s[1][name] for s in samples]
        mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
        return round(100 * slope / mean_y, 3) if mean_y else 0


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def wanted(options, begin, strikes):
    """Whether there are more faults to come."""
    if options.seconds is not None:
        return time.monotonic() - begin < options.seconds
    return len(strikes) < options.kills


def run(options):
    numbers = random.Random(options.seed)
    flags = ["--shutdown-timeout", "60", "--spares", str(options.spares), *options.flag]
    with Server(*flags, supervised=True, ranks=options.ranks, model=options.model) as server:
        expected = [ask(server, index) for index in range(options.kinds)]
        for index, heard in enumerate(expected):
            if heard.error is not None:
                raise AssertionError(f"request {index} fails without faults: {heard.error}")
        load = Load(server, options, expected)
        villain = Villain(server, options.kind, options.spares, numbers)
        samples = Samples(server, options.sample_every)
        if not options.rest:
            samples.start()
        begin, strikes = time.monotonic(), []
        while wanted(options, begin, strikes):
            time.sleep(numbers.uniform(options.least_pause, options.most_pause))
            if options.rest:
                load.rest()
                server.wait_idle()
                samples.take()
                load.going.set()
                time.sleep(options.think + 1)  # the deed is done under load
            strikes.append(villain.strike())
            if sys.stderr.isatty():
                print(f"\r{len(strikes)} faults, {load.done} requests", end="", file=sys.stderr, flush=True)
        eventually(lambda: server.get("/ready").status == 200, 60)
        samples.stop()
        hanging = load.stop()
        longest = pauses(load, strikes)
        restarts = server.metric("moe:engine_restarts_total")
        repairs = server.metric("moe:engine_repairs_total")
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
        "kills": len(strikes),
        "restarts": restarts,
        "repairs": repairs,
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
        "slopes_percent_an_hour": samples.slopes(),
        "samples": len(samples.taken),
        "first_sample": samples.taken[0][1] if samples.taken else None,
        "last_sample": samples.taken[-1][1] if samples.taken else None,
    }
    return result, load.complaints


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("source")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, help="go on for so long, whatever --kills says")
    parser.add_argument(
        "--kind",
        choices=["rank", "two", "twice", "launcher", "stop"],
        default="rank",
        help="a rank; two at once; a second one while the engine comes back; mpirun; a rank that stops",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--spares", type=int, default=0, help="processes that take the place of dead ranks")
    parser.add_argument("--flag", action="append", default=[], help="further words of the server's command line")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--think", type=float, default=0, help="mean pause of a client, in seconds")
    parser.add_argument("--sample-every", type=float, default=10, help="seconds between samples of memory")
    parser.add_argument("--rest", action="store_true", help="sample before each deed instead, with nobody asking")
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
