#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A supervised server: ranks die, stop and hang, and no request is lost or changed."""

import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
import unittest

from serve_lib import DEMO, FOLKMOOT, PATIENCE, PROMPT, Server, eventually, free_port, main, mpi_environment

COMPLETIONS = "/v1/completions"
GOOD = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0}
CLIENTS = 12


def body(client, tokens=200):
    """Mixed load: drawn and greedy, with log-probabilities, in several choices."""
    request = {"prompt": f"{PROMPT} {client}", "max_tokens": tokens, "ignore_eos": True}
    request |= {"temperature": 0.8, "seed": client} if client % 3 else {"temperature": 0}
    if client % 4 == 0:
        request |= {"logprobs": 2}
    if client % 5 == 0:
        request |= {"n": 2}
    return request


class Client(threading.Thread):
    """Reads a stream; what it heard, by choice, and the longest pause."""

    def __init__(self, server, request):
        super().__init__()
        self.server, self.request = server, request
        self.heard, self.failure, self.pause = {}, None, 0.0
        self.start()

    def run(self):
        last = time.monotonic()
        try:
            stream = self.server.stream(COMPLETIONS, self.request)
            for event in stream:
                if "error" in event:
                    self.failure = event["error"]
                for choice in event.get("choices", []):
                    kept = self.heard.setdefault(choice["index"], [])
                    kept.append((choice["text"], str(choice["logprobs"]), choice["finish_reason"]))
                now = time.monotonic()
                self.pause, last = max(self.pause, now - last), now
            if not stream.done:
                self.failure = self.failure or "no [DONE]"
            stream.connection.close()
        except (OSError, AssertionError) as error:
            self.failure = error


def answers(server):
    try:
        return server.get("/ready").status == 200
    except OSError:
        return False


class Resuming(threading.Thread):
    """A client that comes back for the rest of its answer. Without a body it only comes back."""

    def __init__(self, server, name, request):
        super().__init__()
        self.server, self.name_of_request, self.request = server, name, request
        self.heard, self.failure, self.returns, self.last = {}, None, 0, 0
        self.start()

    def wait(self):
        self.join(60 * PATIENCE)
        return self

    def once(self):
        """True: the answer is complete."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = self.server.headers({"X-Request-Id": self.name_of_request})
        if self.request is not None and not self.last and not self.returns:
            text = json.dumps({**self.request, "stream": True})
            connection.request("POST", COMPLETIONS, text, headers)
        else:
            headers["Last-Event-ID"] = str(self.last)
            connection.request("GET", f"/v1/requests/{self.name_of_request}", headers=headers)
        response = connection.getresponse()
        if response.status == 503:
            return False
        if response.status != 200:
            raise AssertionError(f"{response.status}: {response.read()[:300]!r}")
        for line in response:
            if line.startswith(b"id: "):
                if int(line[4:]) != self.last + 1:
                    raise AssertionError(f"event {line!r} after {self.last}")
                self.last += 1
            elif line == b"data: [DONE]\n":
                return True
            elif line.startswith(b"data: "):
                choice = json.loads(line[6:])["choices"][0]
                kept = self.heard.setdefault(choice["index"], [])
                kept.append((choice["text"], str(choice["logprobs"]), choice["finish_reason"]))
        return False

    def run(self):
        for _ in range(400):
            try:
                if self.once():
                    return
            except (OSError, http.client.HTTPException):
                pass  # nobody is there at present
            except AssertionError as error:
                self.failure = error
                return
            self.returns += 1
            time.sleep(0.1)
        self.failure = "it never ends"


def load(server, while_it_runs=lambda: None, tokens=200):
    clients = [Client(server, body(i, tokens)) for i in range(CLIENTS)]
    while_it_runs()
    for client in clients:
        client.join(120 * PATIENCE)
    return clients


def shared_memory(server):
    names = tuple(server.directories)
    return [name for name in os.listdir("/dev/shm") if names and name.startswith(names)]


class SupervisedTest(unittest.TestCase):
    def assert_nothing_lost(self, expected, clients):
        for client, right in zip(clients, expected):
            self.assertIsNone(client.failure)
            self.assertEqual(client.heard, right.heard)

    def assert_nothing_left(self, server):
        eventually(lambda: not list(server.own_processes()), 5)
        self.assertEqual(list(server.own_processes()), [])
        left = [name for name in os.listdir(server.work) if name.startswith("folkmoot-")]
        self.assertEqual(left, [])
        self.assertEqual(shared_memory(server), [])

    def restarts(self, server):
        return server.metric("moe:engine_restarts_total")

    def kill_rank(self, server, rank, number=signal.SIGKILL):
        def kill():
            self.assertTrue(eventually(lambda: rank in server.rank_processes(), 10), server.log())
            time.sleep(0.3)
            os.kill(server.rank_processes()[rank], number)

        return kill

    def test_killed_ranks_cost_a_pause(self):
        with Server(supervised=True, ranks=3) as server:
            expected = load(server)
            for client in expected:
                self.assertIsNone(client.failure)
            for rank in (1, 0, 2):
                clients = load(server, self.kill_rank(server, rank))
                self.assert_nothing_lost(expected, clients)
                self.assertLess(max(client.pause for client in clients), 10)
            self.assertEqual(self.restarts(server), 3)
            self.assertIn("rank 0 (pid ", server.log())
            # Twice in a row, the second time while the engine comes back.
            def twice():
                self.kill_rank(server, 1)()
                self.kill_rank(server, 0)()
            self.assert_nothing_lost(expected, load(server, twice))
            # The launcher itself.
            def launcher():
                time.sleep(0.3)
                os.kill([p for p, _ in server.own_processes("mpirun")][0], signal.SIGKILL)
            self.assert_nothing_lost(expected, load(server, launcher))
            self.assertEqual(server.wait_idle(), (0, 0, 0))
            used, cached, free, total = server.blocks()
            self.assertEqual(used + cached + free, total)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(), 0, server.log())
            self.assert_nothing_left(server)

    def test_a_stopped_rank_is_fenced(self):
        with Server(supervised=True, ranks=3) as server:
            expected = load(server)
            red = []

            def stop():
                self.kill_rank(server, 2, signal.SIGSTOP)()
                stopped = time.monotonic()
                self.assertTrue(eventually(lambda: "sign of life" in server.log(), 10))
                red.append(time.monotonic() - stopped)
                self.assertTrue(eventually(lambda: server.get("/ready").status == 200, 10))

            clients = load(server, stop)
            self.assert_nothing_lost(expected, clients)
            self.assertLess(red[0], 4)
            self.assertIn("rank 2 has not given a sign of life", server.log())

    def faults(self, plan, ranks=3, **more):
        return Server("--fault", plan, "--unsafe-faults", supervised=True, ranks=ranks, **more)

    def test_faults_on_purpose(self):
        with Server(supervised=True, ranks=3) as server:
            expected = load(server)
        for plan, words in {
            "kill:rank=2,step=40,layer=3": r"rank 2 \(pid ",
            "stop:rank=1,step=40": "rank 1 has not given a sign of life",
            "delay:rank=0,step=40,layer=2,ms=20000": r"rank 0 has not entered layer \d .* of step",
            "drop:rank=1,step=40": "engine 1: ",
            "kill:rank=0,step=30;kill:rank=1,step=60,epoch=2": "engine 2: ",
        }.items():
            with self.subTest(plan), self.faults(plan) as server:
                start = time.monotonic()
                self.assert_nothing_lost(expected, load(server))
                self.assertRegex(server.log(), words)
                self.assertLess(time.monotonic() - start, 60 * PATIENCE)
                self.assertGreaterEqual(self.restarts(server), 1)

    def test_a_request_that_kills_the_engine_fails_alone(self):
        # Every life dies in its first step with tokens: what is asked for is guilty.
        with self.faults("kill:rank=1,step=1,layer=0,epoch=0") as server:
            reply = server.post(COMPLETIONS, {**GOOD, "max_tokens": 8})
            self.assertEqual((reply.status, reply.error["code"]), (500, "engine_error"))
            self.assertIn("the engine failed each time", reply.error["message"])
            self.assertTrue(eventually(lambda: server.get("/ready").status == 200, 20))
            self.assertEqual(server.wait_idle(), (0, 0, 0))

    def test_the_front_end_comes_back(self):
        with Server("--port", str(free_port()), supervised=True, ranks=2) as server:
            before = server.good(COMPLETIONS, GOOD).json["choices"]
            with open(f"/proc/{server.front_end()}/status", encoding="utf-8") as file:
                status = file.read()
            self.assertRegex(status, r"NoNewPrivs:\s+1\n")
            self.assertRegex(status, r"Seccomp:\s+2\n")
            os.kill(server.front_end(), signal.SIGKILL)
            self.assertTrue(eventually(lambda: "the front end was killed" in server.log(), 5))
            self.assertTrue(eventually(lambda: answers(server), 20), server.log())
            self.assertEqual(server.good(COMPLETIONS, GOOD).json["choices"], before)

    def test_a_journal_survives_the_front_end(self):
        work = tempfile.mkdtemp(prefix="folkmoot-journal-")
        flags = ["--journal", os.path.join(work, "journal"), "--port", str(free_port())]
        with Server(*flags, supervised=True, ranks=2, key="planted-secret-9914") as server:
            expected = [Resuming(server, f"whole-{i}", body(i, 600)) for i in range(8)]
            for client in expected:
                client.join(60 * PATIENCE)
                self.assertIsNone(client.failure)
            clients = [Resuming(server, f"cut-{i}", body(i, 600)) for i in range(8)]
            for _ in range(3):
                time.sleep(0.4)
                os.kill(server.front_end(), signal.SIGKILL)
                time.sleep(2)
            for client, right in zip(clients, expected):
                client.join(60 * PATIENCE)
                self.assertIsNone(client.failure)
                self.assertEqual(client.heard, right.heard)
            self.assertGreater(sum(client.returns for client in clients), 0)
            # Long ended, and asked for again from the middle, by the answer's id or the request's.
            events = Resuming(server, "cut-0", None).wait().heard
            self.assertEqual(events, expected[0].heard)
            self.assertEqual(server.get("/v1/requests/nobodys").status, 404)
            other = {"Authorization": "Bearer other"}
            self.assertEqual(server.get("/v1/requests/cut-0", headers=other).status, 401)
            # Whole answers come back too.
            whole = {**GOOD, "max_tokens": 40}
            first = server.good(COMPLETIONS, whole, headers={"X-Request-Id": "one-piece"})
            os.kill(server.front_end(), signal.SIGKILL)
            self.assertTrue(eventually(lambda: answers(server), 20), server.log())
            again = server.get("/v1/requests/one-piece")
            self.assertEqual((again.status, again.json), (200, first.json))
            self.assertEqual(server.wait_idle(), (0, 0, 0))
        for name in os.listdir(flags[1]):
            path = os.path.join(flags[1], name)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with open(path, "rb") as file:
                self.assertNotIn(b"planted-secret", file.read())
        shutil.rmtree(work)

    def test_readiness_and_late_requests(self):
        with Server(supervised=True, ranks=2) as server:
            os.kill(server.rank_processes()[1], signal.SIGKILL)
            self.assertTrue(eventually(lambda: self.restarts(server) == 1, 5), server.log())
            self.assertEqual(server.get("/health").status, 200)
            # Taken at once, answered when the engine is back.
            self.assertEqual(server.good(COMPLETIONS, GOOD).status, 200)
            self.assertEqual(server.get("/ready").status, 200)

    def launcher(self, server, script):
        path = os.path.join(server.work, "launcher")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_an_engine_that_cannot_start_ends_the_server(self):
        for flags, words in {
            ("--launcher", "false"): "the launcher exited with status 1",
            ("--launcher", "no-such-program"): "No such file",
            ("--max-model-len", "100000"): "max-model-len",
            ("--gate", "top_k=999"): "top_k",
        }.items():
            with self.subTest(flags):
                server = Server(*flags, supervised=True, ranks=2)
                start = time.monotonic()
                server.launch()
                try:
                    self.assertNotEqual(server.wait(15), 0)
                    self.assertLess(time.monotonic() - start, 10)
                    self.assertIn(words, server.log())
                    self.assert_nothing_left(server)
                finally:
                    server.kill()

    def given_up(self, *flags):
        """A server whose engine starts once and never again, after the end of the first one."""
        server = Server(*flags, supervised=True, ranks=2)
        path = self.launcher(
            server,
            f'[ -e "{server.work}/once" ] && exit 1\ntouch "{server.work}/once"\n'
            'exec mpirun --oversubscribe "$@"\n',
        )
        server.command += ["--launcher", path]
        return server

    def refusal(self, server):
        try:
            reply = server.post(COMPLETIONS, GOOD)
            return reply.status, reply.error["code"]
        except OSError:
            return None

    def test_an_engine_that_fails_for_good_is_told(self):
        with self.given_up("--port", str(free_port())) as server:
            client = Client(server, {**body(1, 900), "n": 8})
            self.kill_rank(server, 1)()
            client.join(30 * PATIENCE)
            self.assertIsNotNone(client.failure, server.log())
            self.assertEqual(client.failure["code"], "engine_dead")
            reply = server.post(COMPLETIONS, GOOD)
            self.assertEqual((reply.status, reply.error["code"]), (503, "engine_dead"))
            self.assertEqual(server.get("/ready").status, 503)
            self.assertEqual(server.get("/health").status, 503)
            self.assertIsNone(server.process.poll())
            self.assertIn("given up", server.log())
            # A front end that starts later hears of it, too.
            os.kill(server.front_end(), signal.SIGKILL)
            self.assertTrue(eventually(lambda: self.refusal(server) == (503, "engine_dead"), 10), server.log())
            self.assertEqual(server.get("/ready").status, 503)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(10), 0)
            self.assert_nothing_left(server)
        with self.given_up("--exit-on-engine-failure") as server:
            self.kill_rank(server, 1)()
            self.assertEqual(server.wait(30), 1)
            self.assert_nothing_left(server)

    def test_drains_while_the_engine_comes_back(self):
        with Server(supervised=True, ranks=2) as server:
            client = Client(server, {**body(1, 900), "n": 8})
            self.kill_rank(server, 1)()
            server.process.send_signal(signal.SIGTERM)
            client.join(30 * PATIENCE)
            self.assertIsNone(client.failure)
            self.assertEqual(server.wait(), 0, server.log())
            self.assert_nothing_left(server)

    def test_keys_are_in_no_rank(self):
        with Server(supervised=True, ranks=2, key="planted-secret-7261") as server:
            server.good(COMPLETIONS, GOOD)
            for pid in server.rank_processes().values():
                for name in ("cmdline", "environ"):
                    with open(f"/proc/{pid}/{name}", "rb") as file:
                        self.assertNotIn(b"planted-secret", file.read())
            self.assertNotIn("planted-secret", server.log())
            self.assertNotIn(b"planted-secret", server.get("/metrics").body)

    def test_flags_may_come_from_the_environment(self):
        server = Server(ranks=2)
        server.supervised = True
        server.command = [FOLKMOOT, "serve", DEMO, "--threads", "1", "--port", "0"]
        os.environ |= {"FOLKMOOT_RANKS": "2", "FOLKMOOT_API_KEY": "planted-secret-5512"}
        try:
            with server:
                server.key = "planted-secret-5512"
                server.good(COMPLETIONS, GOOD)
                self.assertEqual(sorted(server.rank_processes()), [0, 1])
                for pid in server.rank_processes().values():
                    with open(f"/proc/{pid}/environ", "rb") as file:
                        self.assertNotIn(b"planted-secret", file.read())
        finally:
            del os.environ["FOLKMOOT_RANKS"], os.environ["FOLKMOOT_API_KEY"]

    def test_wrong_usage(self):
        for flags, words in {
            ("--fault", "kill:rank=1"): "--unsafe-faults",
            ("--fault", "burn:rank=1", "--unsafe-faults"): "'burn' is none of",
            ("--fault", "kill:rank=x", "--unsafe-faults"): "'rank=x'",
        }.items():
            run = subprocess.run(
                [FOLKMOOT, "serve", DEMO, "--ranks", "2", *flags],
                capture_output=True, text=True, timeout=30, check=False,
            )
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn(words, run.stderr)
        run = subprocess.run(
            ["mpirun", "-n", "2", FOLKMOOT, "serve", DEMO, "--ranks", "2"],
            capture_output=True, text=True, timeout=30, check=False, env=mpi_environment(),
        )
        self.assertIn("leave mpirun away", run.stderr)


if __name__ == "__main__":
    main()
