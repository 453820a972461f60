#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A supervised server with spare processes: a rank dies, one takes its place, and the others live on."""

import os
import re
import signal
import subprocess
import time
import unittest

import serve_supervised_test as supervised
from serve_lib import DEMO, FOLKMOOT, Server, eventually, main
from serve_supervised_test import COMPLETIONS, GOOD, load


class RepairTest(unittest.TestCase):
    RANKS = 3

    def server(self, spares, *flags):
        return Server("--spares", str(spares), *flags, supervised=True, ranks=self.RANKS)

    def assert_nothing_lost(self, expected, clients):
        supervised.SupervisedTest.assert_nothing_lost(self, expected, clients)

    def ends_well(self, server):
        self.assertEqual(server.wait_idle(), (0, 0, 0))
        used, cached, free, total = server.blocks()
        self.assertEqual(used + cached + free, total)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0, server.log())
        supervised.SupervisedTest.assert_nothing_left(self, server)

    def lives(self, server):
        return server.metric("moe:engine_restarts_total"), server.metric("moe:engine_repairs_total")

    def whole(self, server, lives):
        """The server is ready, after so many restarts and repairs."""
        ready = lambda: self.lives(server) == lives and server.get("/ready").status == 200
        self.assertTrue(eventually(ready, 20), f"{self.lives(server)}, not {lives}: {server.log()}")

    def strike(self, server, number, how=signal.SIGKILL):
        """A process of the job, by its number: ranks come first."""

        def deed():
            time.sleep(0.3)
            os.kill(server.rank_processes()[number], how)

        return deed

    def test_the_others_live_on(self):
        with self.server(3) as server:
            expected = load(server)
            for client in expected:
                self.assertIsNone(client.failure)
            # Ranks 1 and 0, and who took the place of rank 1: processes 3, 4 and 5 come for them.
            for repairs, number in enumerate((1, 0, 3), start=1):
                before = server.rank_processes()
                clients = load(server, self.strike(server, number))
                self.assert_nothing_lost(expected, clients)
                self.whole(server, (0, repairs))
                del before[number]
                self.assertEqual(server.rank_processes(), before)
            kept = re.findall(r"2 of 3 ranks kept (\d+) pages", server.log())
            self.assertEqual(len(kept), 3, server.log())
            self.assertGreater(min(map(int, kept)), 0)
            # No spare is left: all start again, with new ones.
            self.assert_nothing_lost(expected, load(server, self.strike(server, 2)))
            self.whole(server, (1, 3))
            self.assertEqual(sorted(server.rank_processes()), list(range(6)))
            self.assert_nothing_lost(expected, load(server, self.strike(server, 2)))
            self.whole(server, (1, 4))
            self.ends_well(server)

    def test_an_idle_engine_is_repaired_too(self):
        with self.server(2) as server:
            before = server.good(COMPLETIONS, GOOD).json["choices"]
            for repairs, number in enumerate((2, 0), start=1):
                os.kill(server.rank_processes()[number], signal.SIGKILL)
                self.whole(server, (0, repairs))
                self.assertEqual(server.good(COMPLETIONS, GOOD).json["choices"], before)
            self.ends_well(server)

    def test_a_rank_that_stands_still_is_replaced(self):
        with self.server(1) as server:
            expected = load(server)
            clients = load(server, self.strike(server, 2, signal.SIGSTOP))
            self.assert_nothing_lost(expected, clients)
            self.whole(server, (0, 1))
            self.assertIn("rank 2 has not given a sign of life", server.log())

    def test_two_deaths(self):
        with self.server(2) as server:
            expected = load(server)

            def at_once():
                time.sleep(0.3)
                ranks = server.rank_processes()
                for number in (0, 2):
                    os.kill(ranks[number], signal.SIGKILL)

            self.assert_nothing_lost(expected, load(server, at_once))
            # Both were seen dead together, or the second one spoiled the repair of the first.
            self.assertTrue(eventually(lambda: self.lives(server) in ((0, 1), (1, 0), (1, 1)), 10))
            self.assertTrue(eventually(lambda: server.get("/ready").status == 200, 20))
            self.ends_well(server)

    def test_a_repair_that_does_not_end_is_a_restart(self):
        with self.server(1) as server:
            expected = load(server)
            said = []

            def deed():
                # The spare process stands still: whoever waits for it waits until it is fenced.
                os.kill(server.rank_processes()[3], signal.SIGSTOP)
                self.strike(server, 1)()
                eventually(lambda: self.lives(server)[1] == 1, 5)
                said.append(server.get("/ready"))

            self.assert_nothing_lost(expected, load(server, deed))
            self.assertEqual(said[0].status, 503)
            self.assertIn("being repaired: rank 1", said[0].body.decode())
            self.whole(server, (1, 1))
            self.ends_well(server)

    def test_a_spare_that_dies_costs_nothing(self):
        with self.server(1) as server:
            expected = load(server)
            self.assert_nothing_lost(expected, load(server, self.strike(server, 3)))
            self.assertEqual(self.lives(server), (0, 0))
            self.assertIn("spare process 3", server.log())
            self.assert_nothing_lost(expected, load(server, self.strike(server, 1)))
            self.whole(server, (1, 0))
            self.ends_well(server)

    def test_faults_on_purpose(self):
        with self.server(0) as server:
            expected = load(server)
        for plan, lives in {
            "kill:rank=2,step=40,layer=3": (0, 1),
            "kill:rank=1,step=40;kill:rank=0,step=60,epoch=2": (0, 2),
            "delay:rank=1,step=40,layer=2,ms=20000": (0, 1),
            "kill:rank=2,step=40;stop:rank=0,step=60,epoch=2": (0, 2),
        }.items():
            flags = ["--fault", plan, "--unsafe-faults"]
            with self.subTest(plan), self.server(2, *flags) as server:
                self.assert_nothing_lost(expected, load(server))
                self.whole(server, lives)

    def test_a_request_that_kills_the_engine_fails_alone(self):
        flags = ["--fault", "kill:rank=1,step=1,layer=0,epoch=0", "--unsafe-faults"]
        with self.server(2, *flags) as server:
            reply = server.post(COMPLETIONS, {**GOOD, "max_tokens": 8})
            self.assertEqual((reply.status, reply.error["code"]), (500, "engine_error"))
            self.assertTrue(eventually(lambda: server.get("/ready").status == 200, 20))
            self.assertEqual(server.wait_idle(), (0, 0, 0))

    def test_wrong_usage(self):
        for flags, words in {
            ("--spares", "1"): "--spares needs --ranks",
            ("--spares", "1", "--ranks", "1"): "--spares needs --ranks",
            ("--spares", "1", "--ranks", "2", "--hosts", "a:1,b:1"): "--spares is for ranks on one",
            ("--spares", "1", "--ranks", "2", "--hostfile", "/none"): "--spares is for ranks on one",
            ("--spares", "1", "--ranks", "2", "--control-host", "127.0.0.1"): "on one host",
            ("--spares", "1", "--ranks", "2", "--parallelism", "tensor"): "nothing to keep",
        }.items():
            run = subprocess.run(
                [FOLKMOOT, "serve", DEMO, "--port", "0", *flags],
                capture_output=True, text=True, timeout=30, check=False,
            )
            self.assertEqual(run.returncode, 1 if "tensor" in flags else 2, run.stderr)
            self.assertIn(words, run.stderr)


if __name__ == "__main__":
    main()
