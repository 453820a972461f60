#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How a server ends: drained, cut off, with a dead rank, or never begun. No rank is ever left."""

import os
import signal
import socket
import threading
import time
import unittest

from serve_lib import DEMO, PATIENCE, PROMPT, Server, eventually, main

COMPLETIONS = "/v1/completions"
GOOD = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0}
LONG_RUN = {"prompt": PROMPT, "max_tokens": 700, "ignore_eos": True, "seed": 1}


class Reader(threading.Thread):
    """Reads a stream in the background."""

    def __init__(self, server, body):
        super().__init__()
        self.stream = server.stream(COMPLETIONS, body)
        self.events, self.failure = [next(iter(self.stream))], None
        self.start()

    def run(self):
        try:
            self.events += list(self.stream)
        except OSError as error:
            self.failure = error
        self.stream.connection.close()

    def end(self):
        self.join(30 * PATIENCE)
        assert not self.is_alive(), "the stream does not end"
        return self.events


class EndingsTest(unittest.TestCase):
    def assert_gone(self, server, seconds=10):
        eventually(lambda: not server.rank_processes(), seconds)
        self.assertEqual(server.rank_processes(), {}, "ranks are left")

    def assert_drains(self, server, send):
        """Signals with `send`: what runs is finished, nothing new begins, the status is 0."""
        readers = [Reader(server, {**LONG_RUN, "seed": seed}) for seed in range(3)]
        send()
        self.assertTrue(eventually(lambda: "draining" in server.log(), 5))
        try:
            reply = server.post(COMPLETIONS, GOOD)
            self.assertEqual((reply.status, reply.error["code"]), (503, "draining"))
            self.assertIn("Retry-After", reply.headers)
            self.assertEqual(server.get("/ready").status, 503)
            self.assertEqual(server.get("/health").status, 200)
        except ConnectionRefusedError:
            pass  # a server that listens no more refuses just as well
        for reader in readers:
            events = reader.end()
            self.assertTrue(reader.stream.done, events[-1])
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
        self.assertEqual(server.wait(), 0, server.log())
        self.assert_gone(server)

    def test_sigterm_to_rank_0_drains(self):
        with Server(ranks=3) as server:
            self.assert_drains(server, lambda: os.kill(server.rank_processes()[0], signal.SIGTERM))

    def test_sigusr1_to_mpirun_drains(self):
        with Server(ranks=3) as server:
            self.assert_drains(server, lambda: server.process.send_signal(signal.SIGUSR1))

    def test_without_mpirun(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server(ranks=0) as server:
                self.assert_drains(server, lambda n=number: server.process.send_signal(n))

    def test_an_idle_server_ends_at_once(self):
        with Server(ranks=2) as server:
            server.good(COMPLETIONS, GOOD)
            idle = socket.create_connection(("127.0.0.1", server.port))
            start = time.monotonic()
            os.kill(server.rank_processes()[0], signal.SIGTERM)
            self.assertEqual(server.wait(), 0, server.log())
            self.assertLess(time.monotonic() - start, 4)
            idle.close()
            self.assert_gone(server)

    def test_second_signal_cuts_off(self):
        with Server(ranks=3) as server:
            reader = Reader(server, {**LONG_RUN, "max_tokens": 1000, "n": 8})
            rank0 = server.rank_processes()[0]
            os.kill(rank0, signal.SIGTERM)
            self.assertTrue(eventually(lambda: "draining" in server.log(), 5))
            os.kill(rank0, signal.SIGTERM)
            events = reader.end()
            self.assertIn("error", events[-1])
            self.assertFalse(reader.stream.done)
            self.assertNotEqual(server.wait(), 0)
            self.assert_gone(server)

    def test_third_signal_ends_a_job_that_hangs(self):
        with Server(ranks=3) as server:
            reader = Reader(server, {**LONG_RUN, "n": 8})
            ranks = server.rank_processes()
            os.kill(ranks[1], signal.SIGSTOP)  # the step under way does not end
            for word in ("draining", "cutting off"):
                os.kill(ranks[0], signal.SIGTERM)
                self.assertTrue(eventually(lambda w=word: w in server.log(), 5), server.log())
            self.assertIn("error", reader.end()[-1])
            self.assertIsNone(server.process.poll())
            os.kill(ranks[0], signal.SIGTERM)
            self.assertEqual(server.wait(15), 1)
            self.assert_gone(server)

    def test_shutdown_timeout_cuts_off(self):
        with Server("--shutdown-timeout", "1", ranks=2) as server:
            readers = [
                Reader(server, {**LONG_RUN, "max_tokens": 1000, "n": 16, "seed": i})
                for i in range(4)
            ]
            os.kill(server.rank_processes()[0], signal.SIGTERM)
            for reader in readers:
                self.assertIn("error", reader.end()[-1])
            self.assertNotEqual(server.wait(10), 0)
            self.assert_gone(server)

    def test_a_killed_worker_ends_the_job(self):
        with Server(ranks=3) as server:
            reader = Reader(server, {**LONG_RUN, "n": 8})
            os.kill(server.rank_processes()[2], signal.SIGKILL)
            events = reader.end()
            self.assertFalse(reader.stream.done, "a stream without its rank ended well")
            self.assertTrue("error" in events[-1] or reader.failure, events[-1])
            self.assertNotEqual(server.wait(15), 0)
            self.assert_gone(server)
            self.assertIn("rank 2", server.log())

    def test_a_killed_worker_of_an_idle_server(self):
        with Server("--timeout-ms", "8000", ranks=3) as server:
            server.good(COMPLETIONS, GOOD)
            os.kill(server.rank_processes()[1], signal.SIGKILL)
            self.assertNotEqual(server.wait(20), 0)
            self.assert_gone(server)

    def test_a_killed_rank_0_takes_the_workers_along(self):
        with Server(ranks=3) as server:
            Reader(server, {**LONG_RUN, "n": 8})
            os.kill(server.rank_processes()[0], signal.SIGKILL)
            self.assertNotEqual(server.wait(15), 0)
            self.assert_gone(server)

    def test_mpirun_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(number), Server(ranks=3) as server:
                reader = Reader(server, LONG_RUN)
                server.process.send_signal(number)
                server.wait(20)
                self.assert_gone(server)
                reader.end()

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = Server("--port", str(port), ranks=3).launch()
            try:
                self.assertEqual(server.wait(), 1)
                self.assertIn(f"127.0.0.1:{port}", server.log())
                self.assert_gone(server)
            finally:
                server.kill()

    def test_what_cannot_start(self):
        for flags, text in (
            (["--host", "not-an-address.invalid"], "not-an-address.invalid"),
            (["--allow-gate-override", "nonsense"], "nonsense"),
            (["--chat-template", "/does/not/exist"], "/does/not/exist"),
            (["--generation-config", "/does/not/exist"], "/does/not/exist"),
            (["--tool-call-parser", "response_template"], "has no response_template with tool_calls"),
        ):
            server = Server(*flags, ranks=2, template=False).launch()
            try:
                with self.subTest(flags):
                    self.assertNotEqual(server.wait(), 0)
                    self.assertIn(text, server.log())
                    self.assert_gone(server)
            finally:
                server.kill()
        server = Server(ranks=2, model=DEMO + "-that-is-not-there").launch()
        try:
            self.assertEqual(server.wait(), 1)
            self.assertIn("demo-kjv-that-is-not-there", server.log())
            self.assert_gone(server)
        finally:
            server.kill()

    def test_the_port_is_free_again(self):
        with Server(ranks=2) as first:
            port = first.port
            first.stream(COMPLETIONS, LONG_RUN)
            for pid in first.rank_processes().values():
                os.kill(pid, signal.SIGKILL)
            first.wait()
            with Server("--port", str(port), ranks=2) as second:
                second.good(COMPLETIONS, GOOD)


if __name__ == "__main__":
    main()
