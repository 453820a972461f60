#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What crowds do to a supervised server.

Usage: crowd.py FOLKMOOT_BINARY SOURCE_DIR overload|readers|strangers [options]

overload: twice as many clients as the server runs at once say what it can do, in answers a second; then requests
arrive at ten times that rate, whatever becomes of them (`folkmoot bench serve` asks). Printed: goodput beside the
peak, the refusals, the wait of those who were let in, memory, and the cores that the clients and the front end take.
Exit status 0: at least 90 % of the peak, and every refusal is a 429, with Retry-After where it was looked at.

readers: a thousand clients ask for streams that they do not read, and a thousand more vanish at a random moment,
while others are served. Exit status 0: pages, queue and memory come back to what they were.

strangers: ten thousand connections to every port and socket of the server bring garbage, or nothing, while others are
served. Exit status 0: the answers stay the same, the engine lives, descriptors come back, and the log stays short. (mpirun writes
a line for every one at its ports, and keeps a few of them for ever.)
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from serve_lib import DEMO, PROMPT, Server, eventually  # noqa: E402  pylint: disable=wrong-import-position
from watch import Samples, percentile  # noqa: E402  pylint: disable=wrong-import-position


def http_request(body):
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    return head.encode() + data


class Load:
    """What became of the requests of one run of `folkmoot bench serve`."""

    def __init__(self, server, options, requests, *flags):
        path = os.path.join(server.work, "load.json")
        command = [options.folkmoot, "bench", "serve", "--port", str(server.port), "--ignore-eos", "--num-warmups", "0"]
        command += ["--random-input-len", "16", "--random-output-len", str(options.tokens), "--vocab-size", "512"]
        command += ["--num-prompts", str(max(1, round(requests))), "--seed", str(options.seed), *flags]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, "--save-detailed", "--result-filename", path], capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            sys.exit(f"bench serve: {done.stderr}")
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
        answers = list(zip(run["errors"], run["start_times"], run["latencies"]))
        self.seconds = run["duration"]
        self.served = [(start + took, took) for error, start, took in answers if not error]
        self.refused = sum(error.startswith("HTTP 429") for error, _, _ in answers)
        self.bad = [error for error, _, _ in answers if error and not error.startswith("HTTP 429")]
        self.client_cores = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / self.seconds

    def rate(self, begin, end):
        return sum(begin <= when < end for when, _ in self.served) / (end - begin)

    def waits(self, share):
        return round(percentile([took for _, took in self.served], share), 3)


class Sampled:
    """Now and then a request of our own, for what a refusal says; and the front end's processor time."""

    def __init__(self, server, body):
        self.server, self.body, self.ended = server, body, threading.Event()
        self.refusals, self.without_retry_after = 0, []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ended.wait(0.5):
            reply = self.server.post("/v1/completions", self.body, timeout=300)
            if reply.status != 429:
                continue
            self.refusals += 1
            if not reply.headers.get("retry-after", "").isdigit():
                self.without_retry_after.append(str(reply.headers))

    def __enter__(self):
        self.thread.start()
        self.cpu, self.begin = cpu_seconds(self.server), time.monotonic()
        return self

    def __exit__(self, *_):
        self.cores = (cpu_seconds(self.server) - self.cpu) / (time.monotonic() - self.begin)
        self.ended.set()
        self.thread.join()


def cpu_seconds(server):
    with open(f"/proc/{server.front_end()}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def overload(options):
    body = {"prompt": PROMPT, "max_tokens": options.tokens, "temperature": 0, "ignore_eos": True}
    flags = ("--max-num-seqs", str(options.running), "--max-queued-requests", str(4 * options.running))
    with Server(*flags, supervised=True, ranks=options.ranks, model=options.model) as server:
        samples = Samples(server, 1)
        at_once = ("--max-concurrency", str(2 * options.running))
        first = Load(server, options, 4 * options.running, *at_once)
        enough = max(16 * options.running, len(first.served) / first.seconds * options.seconds)
        peak = Load(server, options, enough, *at_once)
        edges = (0.1 * peak.seconds, 0.9 * peak.seconds)
        rate = peak.rate(*edges)
        before = samples.now()
        samples.start()
        with Sampled(server, body) as sampled:
            crowd = Load(server, options, 10 * rate * options.seconds, "--request-rate", f"{10 * rate:.3f}")
        samples.stop()
        goodput = crowd.rate(0.25 * options.seconds, options.seconds)
        result = {
            "peak_requests_a_second": round(rate, 2),
            "asked_a_second": round(10 * rate, 1),
            "goodput_of_peak": round(goodput / rate, 3),
            "served": len(crowd.served),
            "refused_429": crowd.refused,
            "anything_else": len(crowd.bad),
            "refusals_looked_at": sampled.refusals,
            "peak_p50_s": peak.waits(0.5),
            "admitted_p50_s": crowd.waits(0.5),
            "admitted_p99_s": crowd.waits(0.99),
            "client_cores_at_peak": round(peak.client_cores, 3),
            "client_cores": round(crowd.client_cores, 3),
            "front_end_cores": round(sampled.cores, 3),
            "front_end_mib_before": before["front_end_kib"] >> 10,
            "front_end_mib_most": max(s["front_end_kib"] for _, s in samples.taken) >> 10,
            "front_end_mib_after": samples.now()["front_end_kib"] >> 10,
            "idle_at_the_end": server.wait_idle() == (0, 0, 0),
        }
        complaints = crowd.bad + peak.bad + sampled.without_retry_after
        good = goodput >= 0.9 * rate and not complaints and sampled.refusals > 0 and result["idle_at_the_end"]
    return result, complaints, good


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


GARBAGE = [
    lambda _: b"",
    lambda numbers: numbers.randbytes(numbers.randint(1, 4096)),
    lambda numbers: http_request({"prompt": PROMPT})[: numbers.randint(1, 60)],
    lambda _: b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{",
    lambda _: b"GET /" + b"A" * 100_000,
    lambda numbers: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + numbers.randbytes(512),  # TLS
    lambda numbers: b"\xff\xff\xff\x7f" + numbers.randbytes(64),  # a frame of two gigabytes
    lambda numbers: numbers.randint(0, 64).to_bytes(4, "little") + numbers.randbytes(64),  # a frame of anything
]


def listening(server):
    """Addresses of all sockets that wait for somebody: the server's own and those of its mpirun."""
    inodes = set()
    for pid, _ in server.own_processes():
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = [("127.0.0.1", server.port)]
    with open("/proc/net/tcp", encoding="utf-8") as file:
        for line in list(file)[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            port = int(local.split(":")[1], 16)
            if state == "0A" and inode in inodes and port != server.port:
                found.append(("127.0.0.1", port))
    for directory, _, names in os.walk(server.work):
        paths = [os.path.join(directory, name) for name in names]
        found += [path for path in paths if stat.S_ISSOCK(os.stat(path).st_mode)]
    return found


def knock(address, numbers):
    """Brings garbage; the socket, which some keep open."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(10)
    try:
        sock.connect(address)
        sock.sendall(numbers.choice(GARBAGE)(numbers))
        if numbers.random() < 0.3:  # a reset in place of an end
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # it was shown the door
    return sock


def own_lines(lines):
    return [line for line in lines if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]


def strangers(options):
    numbers, complaints, waits = random.Random(options.seed), [], []
    good = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    flags = ("--control-host", options.control_host) if options.control_host else ()
    with Server(*flags, supervised=True, ranks=options.ranks, model=options.model) as server:
        samples = Samples(server, 0.5)
        expected = server.good("/v1/completions", good).json["choices"]
        doors, lines, before = listening(server), server.log().splitlines(), samples.now()
        samples.start()
        kept = []
        for index in range(options.strangers):
            sock = knock(doors[index % len(doors)], numbers)
            kept.append(sock)
            if numbers.random() < 0.9 or len(kept) > 100:
                kept.pop(numbers.randrange(len(kept))).close()
            if index % 100 == 0:
                begin = time.monotonic()
                if server.good("/v1/completions", good, timeout=60).json["choices"] != expected:
                    complaints.append(f"another answer beside {index} strangers")
                waits.append(time.monotonic() - begin)
        for sock in kept:
            sock.close()
        idle = server.wait_idle(60)
        eventually(lambda: samples.now()["descriptors"] <= before["descriptors"], 30)
        samples.stop()
        after, said = samples.now(), server.log().splitlines()[len(lines) :]
        result = {
            "strangers": options.strangers,
            "ports": sum(isinstance(door, tuple) for door in doors),
            "sockets": sum(isinstance(door, str) for door in doors),
            "others_p50_s": round(percentile(waits, 0.5), 3),
            "others_max_s": round(max(waits), 3),
            "log_lines": len(own_lines(said)),
            "log_lines_of_mpirun": len(said) - len(own_lines(said)),
            "engines_started_again": server.metric("moe:engine_restarts_total"),
            "front_end_mib_before": before["front_end_kib"] >> 10,
            "front_end_mib_most": max(s["front_end_kib"] for s in (*(s for _, s in samples.taken), after)) >> 10,
            "descriptors_before": before["descriptors"],
            "descriptors_after": after["descriptors"],
        }
        if server.good("/v1/completions", good).json["choices"] != expected or idle != (0, 0, 0):
            complaints.append(f"another answer afterwards, or not idle: {idle}")
        if result["engines_started_again"] or after["descriptors"] > before["descriptors"]:
            complaints.append("the engine did not live, or descriptors stay")
        if result["log_lines"] > 100:
            complaints.append("the log is long")
        if options.log:
            shutil.copy(server.log_path, options.log)
    return result, complaints, not complaints


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folkmoot")
    parser.add_argument("source")
    parser.add_argument("crowd", choices=["overload", "readers", "strangers"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="overload: how long each half")
    parser.add_argument("--running", type=int, default=16, help="overload: --max-num-seqs")
    parser.add_argument("--tokens", type=int, default=800, help="overload: of an answer")
    parser.add_argument("--readers", type=int, default=1000, help="readers: of each kind")
    parser.add_argument("--strangers", type=int, default=10_000)
    parser.add_argument("--control-host", help="strangers: ranks come over TCP, to this address")
    parser.add_argument("--log", help="strangers: where the server's log goes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    crowds = {"overload": overload, "readers": readers, "strangers": strangers}
    result, complaints, good = crowds[options.crowd](options)
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
