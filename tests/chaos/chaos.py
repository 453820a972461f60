#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills processes of a supervised server under load, and counts what clients lose.

Usage: chaos.py FOLKMOOT_BINARY SOURCE_DIR [--kills 100] [--kind rank] [--seed 1] ...
A soak: chaos.py FOLKMOOT_BINARY SOURCE_DIR --seconds 7200 --least-pause 50 --most-pause 55 --clients 4 --think 4 --rest

A run without faults says what every request must hear. Then the same requests come again and again, some tens at a
time, while processes die at random moments. A request counts as lost when its answer does not end as it should, and
as differing when it hears anything else than without faults. A client never asks twice; when the front end is killed,
it comes back for the rest, and a request that nobody knows then was never taken: it counts as refused, as those do that
a server refuses while it drains. Exit status 0: nothing was lost, nothing differed, nobody was refused otherwise, and
the server drained and was idle.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from hosts_lib import Cluster, HostsServer, enter  # noqa: E402  pylint: disable=wrong-import-position
from load import Load, ask  # noqa: E402  pylint: disable=wrong-import-position
from serve_lib import DEMO, Server, eventually, free_port  # noqa: E402  pylint: disable=wrong-import-position
from watch import Health, Samples, percentile  # noqa: E402  pylint: disable=wrong-import-position


class Villain:
    def __init__(self, server, options, cluster):
        self.server, self.kind, self.spares, self.cluster = server, options.kind, options.spares, cluster
        self.numbers = random.Random(options.seed)
        self.drains = []  # exit statuses

    def ranks(self):
        """The ranks of an engine that is whole: with spare processes, those that live with the lowest numbers."""
        found = sorted(self.server.rank_processes().items())
        patient = self.spares or self.kind in ("front-end", "host")  # not before the engine has come back
        whole = len(found) >= self.server.ranks and (not patient or self.server.is_ready())
        return dict(found[: self.server.ranks]) if whole else None

    def await_engine(self):
        """The ranks, once the engine is whole."""
        ranks = eventually(self.ranks, 60)
        if not ranks:
            raise AssertionError(f"the engine does not come back: {self.server.log()[-3000:]}")
        return ranks

    def strike(self):
        """Does its deed once the engine is whole; when that was."""
        ranks = self.await_engine()
        victims = self.numbers.sample(sorted(ranks.values()), 2)
        when = time.monotonic()
        if self.kind == "drain":
            self.drain()
        elif self.kind == "host":
            self.cluster.lose_power(self.numbers.uniform(0.1, 3.0))
        elif self.kind == "stop":
            os.kill(victims[0], signal.SIGSTOP)
        elif self.kind == "launcher":
            os.kill([pid for pid, _ in self.server.own_processes("mpirun")][0], signal.SIGKILL)
        elif self.kind == "front-end":
            os.kill(self.server.front_end(), signal.SIGKILL)
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

    def drain(self):
        """Ends the server, and starts one like it."""
        self.server.process.send_signal(signal.SIGTERM)
        self.drains.append(self.server.wait(90))
        left = list(self.server.own_processes())
        if left:
            raise AssertionError(f"processes are left: {left}")
        self.server.launch()
        if not eventually(self.server.is_ready, 60):
            raise AssertionError(f"not ready: {self.server.log()}")


def wanted(options, begin, strikes):
    """Whether there are more faults to come."""
    if options.seconds is not None:
        return time.monotonic() - begin < options.seconds
    return len(strikes) < options.kills


def do_deeds(options, villain, load, samples):
    """When the villain did what."""
    server = villain.server
    begin, strikes = time.monotonic(), []
    while wanted(options, begin, strikes):
        if options.kind == "host":  # the pause is within a life, not while the host is away
            villain.await_engine()
        time.sleep(villain.numbers.uniform(options.least_pause, options.most_pause))
        if options.rest:
            load.rest()
            server.wait_idle()
            samples.take()
            load.going.set()
            time.sleep(options.think + 1)  # the deed is done under load
        strikes.append(villain.strike())
        if sys.stderr.isatty():
            print(f"\r{len(strikes)} faults, {load.done} requests", end="", file=sys.stderr, flush=True)
    eventually(server.is_ready, 60)
    return strikes


@contextlib.contextmanager
def serve(options, journal):
    """A server, and the hosts that it is on if these can be lost."""
    flags = ["--shutdown-timeout", "60", "--spares", str(options.spares), *options.flag]
    if options.kind in ("front-end", "drain"):
        flags += ["--port", str(free_port())]
    if options.kind == "front-end":
        flags += ["--journal", journal]
    if options.kind != "host":
        with Server(*flags, supervised=True, ranks=options.ranks, model=options.model) as server:
            yield server, None
        return
    cluster = Cluster()
    try:
        with HostsServer(cluster, *flags, model=options.model) as server:
            yield server, cluster
    finally:
        cluster.end()


def run(options, journal):
    with serve(options, journal) as (server, cluster):
        expected = [ask(server, index) for index in range(options.kinds)]
        for index, heard in enumerate(expected):
            if heard.error is not None or heard.refused:
                raise AssertionError(f"request {index} fails without faults: {heard.error}")
        load, health = Load(server, options, expected), Health(server)
        samples = Samples(server, options.sample_every)
        health.start()
        if not options.rest:
            samples.start()
        begin = time.monotonic()
        villain = Villain(server, options, cluster)
        strikes = do_deeds(options, villain, load, samples)
        samples.stop()
        hanging = load.stop()
        health.stop()
        longest = load.pauses(strikes)
        green, red = health.lies(sorted(t for times in load.times for t in times), strikes)
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
        "refused": load.refused,
        "hanging": hanging,
        "came_back": load.returns,
        "pause_p50": round(percentile(longest, 0.5), 2),
        "pause_p99": round(percentile(longest, 0.99), 2),
        "pause_max": round(max(longest, default=float("nan")), 2),
        "green_while_silent_max": round(max(green, default=float("nan")), 2),
        "red_while_heard_max": round(max(red, default=float("nan")), 2),
        "idle_at_the_end": idle == (0, 0, 0),
        "drain_status": max([status, *villain.drains], key=abs),
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
        choices=["rank", "two", "twice", "launcher", "stop", "host", "front-end", "drain"],
        default="rank",
        help="a rank; two at once; a second one while the engine comes back; mpirun; a rank that stops; the second of "
        "two hosts, four ranks in all, which is back in three seconds at most (root only); the front end; SIGTERM, and "
        "the server is started again",
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
    options = parser.parse_args()
    if options.kind == "host" and options.ranks != 4:
        parser.error("--kind host has four ranks")
    return options


def main():
    options = parse()
    if options.kind == "host":
        enter()
    with tempfile.TemporaryDirectory(prefix="chaos-journal-") as journal:
        result, complaints = run(options, journal)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")
    for complaint in complaints[:20]:
        print(complaint, file=sys.stderr)
    refusing = options.kind in ("front-end", "drain")
    bad = result["lost"] or result["differing"] or result["refused"] and not refusing or result["drain_status"] != 0
    sys.exit(1 if bad or not result["idle_at_the_end"] else 0)


if __name__ == "__main__":
    main()
