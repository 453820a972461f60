#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The n-th call fails: every point of faults, one call after the other, and what comes of it.

Usage: sweep.py FOLKMOOT_BINARY SOURCE_DIR [--most 5] [--only journal] [--program serve] [--seed 1] [--sample]

Each program runs once and counts how often it reaches each point (`--fault count`). Then it runs again for every kind
of fault at every point, at the first call, the last one and some between (all of them with --most 0), and must end in
one of these ways:

  same     as without a fault
  refused  exit status 1 and an error that says why; what was printed is the beginning of the right text, and no file is
           left behind
  closed   serve, faults of clients' connections: one client was cut off, the others were not

Anything else is bad: a crash, a hang, another text, a process or a file that is left. Exit status 0: nothing was bad.
"""

import argparse
import collections
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from serve_lib import DEMO, FOLKMOOT, PROMPT, Server, eventually, free_port, mpi_environment  # noqa: E402  pylint: disable=wrong-import-position

HANG = 60  # seconds
COUNTS = re.compile(r"fault points reached: (\S+) epoch=1 (.*)")


def kinds_of(point, program):
    """What can happen there, of what is worth a run."""
    area, call = point.split(".")
    if call in ("allocate", "open", "sync"):
        return ["fail"] if area != "journal" else ["fail", "kill"]
    if call in ("read", "map") and area in ("config", "tokenizer", "weights", "journal"):
        return ["fail", "short-read"]
    if call == "write" and area != "http":
        return ["enospc"] if program != "serve" else ["enospc", "kill"]
    return ["fail"]


def counts_of(text):
    """{(process, point): calls}"""
    return {
        (who, point): int(calls)
        for who, reached in COUNTS.findall(text)
        for point, calls in (pair.split("=") for pair in reached.split())
    }


class Run:
    """A program that ends by itself."""

    def __init__(self, name, words, ranks=0, leaves=None):
        self.name, self.leaves = name, leaves
        launcher = ["mpirun", "-n", str(ranks)] if ranks else []
        self.words = [*launcher, FOLKMOOT, *words, "--threads", "1"]

    def once(self, plan):
        """(exit status or None for a hang, stdout, stderr)"""
        if self.leaves:
            shutil.rmtree(self.leaves, ignore_errors=True)
        with subprocess.Popen(
            [*self.words, "--unsafe-faults", "--fault", plan],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=mpi_environment(), start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=HANG)
                return process.returncode, out, err
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return None, "", ""

    def begin(self):
        status, self.right, err = self.once("count")
        if status != 0:
            raise AssertionError(f"{self.name} fails without faults: {err}")
        return counts_of(err)

    def outcome(self, plan):
        status, out, err = self.once(plan)
        if status == 0 and out == self.right:
            return "same", ""
        if status == 1 and "folkmoot: error:" in err and self.right.startswith(out.rstrip("\n")):
            left = self.leaves and os.path.exists(self.leaves)
            return ("bad", f"{self.leaves} was left") if left else ("refused", err)
        return "bad", f"status {status}: {err[-600:]}"


class Client(threading.Thread):
    """A stream, taken up again where it was cut off."""

    def __init__(self, port, number):
        super().__init__()
        self.port, self.id = port, f"sweep-{number}"
        self.body = {"prompt": f"{PROMPT} {number}", "max_tokens": 24, "ignore_eos": True, "seed": number}
        self.body |= {"temperature": 0.7 if number % 2 else 0, "stream": True}
        self.text, self.last, self.done, self.failure = "", 0, False, ""
        self.taken = False  # the server has begun to answer
        self.start()

    def ask(self, first):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        headers = {"Content-Type": "application/json", "X-Request-Id": self.id, "Last-Event-ID": str(self.last)}
        try:
            if first:
                connection.request("POST", "/v1/completions", json.dumps(self.body), headers)
            else:
                connection.request("GET", f"/v1/requests/{self.id}", headers=headers)
            response = connection.getresponse()
            if response.status in (404, 503):
                return response.status
            if response.status != 200:
                raise AssertionError(f"{response.status} {response.read()[:200]!r}")
            self.taken = True
            for line in response:
                if line.startswith(b"id: "):
                    self.last = int(line[4:])
                elif line == b"data: [DONE]\n":
                    self.done = True
                elif line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise AssertionError(f"{event['error']}")
                    self.text += event["choices"][0]["text"]
            return 200
        finally:
            connection.close()

    def run(self):
        first, end = True, time.monotonic() + HANG
        while not self.done and time.monotonic() < end:
            try:
                before = self.last
                status = self.ask(first)
                ended = status == 200 and not first and self.last == before and not self.done
                if status == 404 and not self.taken:
                    first = True  # nobody knows it: it was not written down yet
                    continue
                if status == 404 or ended:
                    self.failure = "closed"  # it left, as far as the server knows
                    return
                first = first and status == 503
            except (OSError, http.client.HTTPException):
                first = False
            except AssertionError as error:
                self.failure = str(error)
                return
            if not self.done:
                time.sleep(0.05)
        if not self.done:
            self.failure = "hang"


class Serve:
    """A supervised server with a journal, three clients, and a drain."""

    name = "serve"

    def start(self, plan):
        self.journal = tempfile.mkdtemp(prefix="sweep-journal-")
        flags = ["--journal", self.journal, "--journal-sync", "--port", str(free_port())]
        flags += ["--unsafe-faults", "--fault", plan, "--timeout-ms", "10000"]
        server = Server(*flags, supervised=True, ranks=2)
        server.launch()
        return server

    def finish(self, server):
        server.kill()
        shutil.rmtree(self.journal, ignore_errors=True)

    @staticmethod
    def ready(server):
        """False: it ended before it was ready."""
        end = time.monotonic() + HANG
        while time.monotonic() < end:
            try:
                if server.is_ready():
                    return True
            except AssertionError:
                return False
            except http.client.HTTPException:
                pass
            time.sleep(0.05)
        raise AssertionError(f"never ready: {server.log()[-600:]}")

    def serve(self, plan):
        """(texts or None when it did not start, failures, exit status, log)"""
        server = self.start(plan)
        try:
            if not self.ready(server):
                status = server.wait(HANG)
                eventually(lambda: not list(server.own_processes()), 5)
                left = len(list(server.own_processes()))
                return None, [f"{left} processes left"] if left else [], status, server.log()
            clients = [Client(server.port, number) for number in range(3)]
            for client in clients:
                client.join()
            failures = [client.failure for client in clients if client.failure]
            idle = self.idle(server)
            if idle != (0, 0, 0):
                failures.append(f"not idle afterwards: {idle}")
            server.process.send_signal(signal.SIGTERM)
            status = server.wait(HANG)
            eventually(lambda: not list(server.own_processes()), 5)
            if list(server.own_processes()):
                failures.append("processes are left")
            return [client.text if client.done else None for client in clients], failures, status, server.log()
        except (subprocess.TimeoutExpired, AssertionError) as error:
            return None, [f"hang: {str(error)[-300:]}"], None, server.log()
        finally:
            self.finish(server)

    @staticmethod
    def idle(server):
        def activity():
            try:
                return server.activity()
            except (OSError, http.client.HTTPException, AssertionError, AttributeError):
                return None
        quiet = eventually(lambda: activity() == (0, 0, 0), 15)
        return (0, 0, 0) if quiet else activity()

    def begin(self):
        self.right, failures, status, log = self.serve("count")
        if failures or status != 0:
            raise AssertionError(f"serve fails without faults: {failures} {status} {log[-2000:]}")
        return counts_of(log)

    def outcome(self, plan):
        texts, failures, status, log = self.serve(plan)
        reason = f"{failures} status {status}: {log[-900:]}"
        if texts is None:
            started = not failures and status == 1 and "error" in log
            return ("refused", log) if started else ("bad", reason)
        same = all(text in (right, None) for text, right in zip(texts, self.right))
        if same and not failures and status == 0:
            return "same", ""
        closed = failures == ["closed"] and "at=http." in plan
        return ("closed", "") if same and closed and status == 0 else ("bad", reason)


def programs(work):
    model = ["--prompt-ids", "1,2,3,4,5", "--max-tokens", "6", "--temperature", "0"]
    return [
        Run("generate", ["generate", DEMO, *model]),
        Run("generate, 2 ranks", ["generate", DEMO, *model, "--timeout-ms", "5000"], ranks=2),
        Run("pack", ["pack", DEMO, f"{work}/packed"], leaves=f"{work}/packed"),
        Run("quantize", ["quantize", DEMO, f"{work}/small"], leaves=f"{work}/small"),
        Serve(),
    ]


def chosen(calls, most, numbers):
    if most == 0 or calls <= most:
        return list(range(1, calls + 1))
    between = numbers.sample(range(2, calls), max(0, most - 2))
    return sorted({1, calls, *between})[:most]


# Program, process, point, kind, call: for every run of the tests.
SAMPLE = [
    ("generate", "rank=0", "kv.allocate", "fail", 1),
    ("generate", "rank=0", "scratch.allocate", "fail", 1),
    ("generate", "rank=0", "weights.map", "short-read", 1),
    ("generate", "rank=0", "weights.read", "short-read", 7),
    ("generate", "rank=0", "tokenizer.read", "short-read", 1),
    ("generate, 2 ranks", "rank=1", "exchange.wait", "fail", 40),
    ("generate, 2 ranks", "rank=1", "buffer.allocate", "fail", 2),
    ("pack", "rank=0", "output.write", "enospc", 5),
    ("quantize", "rank=0", "output.sync", "fail", 1),
    ("serve", "front-end", "journal.write", "enospc", 4),
    ("serve", "front-end", "journal.write", "kill", 9),
    ("serve", "rank=1", "exchange.start", "fail", 60),
    ("serve", "supervisor", "channel.receive", "fail", 15),
]


def plan_of(process, point, kind, nth):
    where = process if process.startswith("rank=") else f"process={process}"
    return f"{kind}:at={point},nth={nth},{where}"


def sweep(options, work):
    numbers, rows, complaints = random.Random(options.seed), [], []
    for program in programs(work):
        wanted = [case for case in SAMPLE if case[0] == program.name]
        if options.program and options.program != program.name or options.sample and not wanted:
            continue
        counts = program.begin()
        for (process, point), calls in sorted(counts.items()):
            if options.only and not point.startswith(options.only):
                continue
            for kind in kinds_of(point, program.name):
                runs = chosen(calls, options.most, numbers)
                if options.sample:
                    runs = [n for _, who, at, what, n in wanted if (who, at, what) == (process, point, kind)]
                ended = collections.Counter()
                for nth in runs:
                    plan = plan_of(process, point, kind, nth)
                    how, why = program.outcome(plan)
                    ended[how] += 1
                    if how == "bad":
                        complaints.append(f"{program.name}: {plan}: {why}")
                        print(complaints[-1], file=sys.stderr, flush=True)
                if runs:
                    rows.append((program.name, process, point, kind, calls, len(runs), ended))
                    print("  ".join(str(cell) for cell in rows[-1][:-1]), dict(ended), file=sys.stderr, flush=True)
    return rows, complaints


def table(rows):
    print("| program | process | point | kind | calls | runs | same | refused | closed | bad |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for *cells, ended in rows:
        numbers = [ended[how] for how in ("same", "refused", "closed", "bad")]
        print("| " + " | ".join(str(cell) for cell in [*cells, *numbers]) + " |")
    total = sum((ended for *_, ended in rows), collections.Counter())
    print(f"\n{sum(total.values())} runs: {dict(total)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("source")
    parser.add_argument("--most", type=int, default=5, help="calls of a point that are tried; 0: all")
    parser.add_argument("--only", default="", help="points that begin with this")
    parser.add_argument("--program", default="", help="of this program alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", action="store_true", help="a few cases, for every run of the tests")
    return parser.parse_args()


def main():
    options = parse()
    work = tempfile.mkdtemp(prefix="sweep-")
    begin = time.monotonic()
    try:
        rows, complaints = sweep(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    table(rows)
    print(f"{time.monotonic() - begin:.0f} s, seed {options.seed}")
    if options.sample and sum(row[5] for row in rows) != len(SAMPLE):
        complaints.append("not every case of the sample was reached")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
