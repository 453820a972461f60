#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A supervised server where more than ranks fails: front ends that hang, loading that hangs, requests that kill, disks
that are full, processes that do not end, and what a killed server leaves."""

import http.client
import json
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
import unittest

from serve_lib import PROMPT, Server, eventually, free_port, main, together

COMPLETIONS = "/v1/completions"
GOOD = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0}

# A rank that says hello in the name of life 2 and leaves its connection to a child that nobody knows: as a process
# that stands in the kernel, it is killed and does not end.
UNDYING = """
import os, socket, sys, time
words = sys.argv
directory = words[words.index("--supervised") + 1]
line = socket.socket(socket.AF_UNIX)
line.connect(directory + "/ranks")
hello = bytes([8, 2, 24, 2])  # epoch 2, rank 0, ranks 2
line.sendall(len(hello).to_bytes(4, "little") + hello)
time.sleep(0.3)
if os.fork() == 0:
    os.setsid()
    open(os.environ["UNDYING"], "w").write(str(os.getpid()))
    time.sleep(60)
sys.exit(1)
"""


def read(port, name, request, give_up=60):
    """The texts of a stream that is taken up again where it was cut off."""
    last, text, first, end = 0, "", True, time.monotonic() + give_up
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=give_up)
        headers = {"Content-Type": "application/json", "X-Request-Id": name, "Last-Event-ID": str(last)}
        try:
            if first:
                connection.request("POST", COMPLETIONS, json.dumps({**request, "stream": True}), headers)
            else:
                connection.request("GET", f"/v1/requests/{name}", headers=headers)
            first = False
            response = connection.getresponse()
            if response.status not in (200, 503):
                raise AssertionError(f"{response.status} {response.read()[:300]!r}")
            for line in response if response.status == 200 else ():
                if line.startswith(b"id: "):
                    last = int(line[4:])
                elif line == b"data: [DONE]\n":
                    return text
                elif line.startswith(b"data: "):
                    text += json.loads(line[6:])["choices"][0]["text"]
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise AssertionError("it never ends")


class FaultsTest(unittest.TestCase):
    def setUp(self):
        self.journal = tempfile.mkdtemp(prefix="folkmoot-journal-")
        self.addCleanup(shutil.rmtree, self.journal, ignore_errors=True)

    def server(self, *flags, plan="", journal=False, **more):
        flags = [*flags, "--port", str(free_port())]
        flags += ["--unsafe-faults", "--fault", plan] if plan else []
        flags += ["--journal", self.journal] if journal else []
        return Server(*flags, supervised=True, ranks=2, **more)

    def long_requests(self, server):
        requests = [{**GOOD, "prompt": f"{PROMPT} {i}", "max_tokens": 700, "ignore_eos": True} for i in range(4)]
        return [lambda i=i, r=r: read(server.port, f"long-{i}", r) for i, r in enumerate(requests)]

    def test_a_stopped_front_end_is_replaced_and_requests_go_on(self):
        with self.server(journal=True) as server:
            expected = together(self.long_requests(server))
        shutil.rmtree(self.journal)
        with self.server(journal=True) as server:
            noticed = []

            def stop():
                time.sleep(0.5)
                os.kill(server.front_end(), signal.SIGSTOP)
                stopped = time.monotonic()
                self.assertTrue(eventually(lambda: "hangs: it has not given a sign of life" in server.log(), 10))
                noticed.append(time.monotonic() - stopped)

            texts = together([*self.long_requests(server), stop])[:-1]
            self.assertEqual(texts, expected)
            self.assertLess(noticed[0], 4)

    def test_a_hanging_thread_of_the_front_end_is_found_and_a_slow_disk_is_left_alone(self):
        # The third read of a client's bytes sleeps for ever, in the first life of the front end.
        plan = "delay:at=http.read,nth=3,process=front-end,ms=600000;delay:at=journal.write,nth=0,ms=4000,epoch=2"
        server = self.server(plan=plan, journal=True)
        server.launch()
        try:
            self.assertTrue(eventually(lambda: "folkmoot: ready" in server.log(), 30), server.log())
            server.port = int(server.command[server.command.index("--port") + 1])
            for _ in range(3):
                threading.Thread(target=self.try_to_get, args=(server,), daemon=True).start()
                time.sleep(0.1)
            self.assertTrue(eventually(lambda: "its thread of clients has come no further" in server.log(), 10))
            self.assertTrue(eventually(lambda: server.log().count("folkmoot: ready") == 2, 60), server.log())
            self.assertEqual(server.good(COMPLETIONS, {**GOOD, "max_tokens": 1}).status, 200)
            self.assertEqual(server.log().count("hangs:"), 1, server.log())
        finally:
            server.kill()

    @staticmethod
    def try_to_get(server):
        try:
            server.get("/health", timeout=2)
        except OSError:
            pass

    def test_a_rank_that_hangs_while_it_loads_has_a_bound(self):
        server = self.server(plan="delay:at=weights.read,nth=5,rank=1,ms=600000")
        server.launch()
        try:
            self.assertEqual(server.wait(120), 1)  # 30 s, and a busy machine
            self.assertIn("rank 1 has come no further with loading the model for 30 s", server.log())
        finally:
            server.kill()

    def test_requests_that_kill_the_engine_at_once_fail_one_by_one(self):
        # Every life dies in its first step with tokens: whoever is asked for is guilty.
        with self.server(plan="kill:rank=1,step=1,layer=0,epoch=0") as server:
            ask = [
                lambda i=i: server.post(COMPLETIONS, {**GOOD, "prompt": f"{PROMPT} {i}"}, timeout=120) for i in range(6)
            ]
            for reply in together(ask):
                self.assertEqual((reply.status, reply.error["code"]), (500, "engine_error"), reply.body)
            self.assertNotIn("given up", server.log())
            self.assertTrue(eventually(lambda: server.get("/ready").status == 200, 20))
            self.assertEqual(server.wait_idle(), (0, 0, 0))

    def test_a_full_disk_ends_the_journal_and_says_so(self):
        with self.server(plan="enospc:at=journal.write,nth=4,process=front-end", journal=True) as server:
            for _ in range(4):
                server.good(COMPLETIONS, GOOD)
            self.assertIn("the journal ends here, the server goes on", server.log())
            self.assertIn("No space left on device", server.log())
            self.assertEqual(server.metric("moe:journal_writing"), 0)
            self.assertEqual(server.metric("moe:journal_failures_total"), 1)
            self.assertGreater(server.metric("moe:journal_bytes_total"), 0)
        with self.server(journal=True) as server:
            server.good(COMPLETIONS, GOOD)
            self.assertEqual(server.metric("moe:journal_writing"), 1)
            self.assertEqual(server.metric("moe:journal_failures_total"), 0)

    def test_the_next_server_cleans_up_after_a_killed_one(self):
        with self.server() as server:
            left = [name for name in os.listdir(server.work) if name.startswith("folkmoot-")]
            self.assertEqual(len(left), 1)
            server.process.kill()
            server.process.wait()
            eventually(lambda: not list(server.own_processes()), 10)
            self.assertEqual(list(server.own_processes()), [], "its processes go with it")
            self.assertIn(left[0], os.listdir(server.work))
            second = self.server()
            shutil.rmtree(second.work)
            second.work, second.log_path = server.work, os.path.join(server.work, "second-log")
            second.command[second.command.index("--chat-template") + 1] = server.command[
                server.command.index("--chat-template") + 1
            ]
            with second:
                self.assertNotIn(left[0], os.listdir(server.work))
                self.assertEqual([n for n in os.listdir("/dev/shm") if n.startswith(left[0])], [])
                self.assertIn("which a killed server had left", second.log())

    def test_a_process_that_does_not_end_does_not_hold_up_the_next_life(self):
        server = self.server()
        with open(os.path.join(server.work, "undying.py"), "w", encoding="utf-8") as file:
            file.write(UNDYING)
        path = os.path.join(server.work, "launcher")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                '#!/bin/sh\ncase "$*" in *"--epoch 2"*)\n'
                f'UNDYING={server.work}/undying exec python3 {server.work}/undying.py "$@";; esac\n'
                'exec mpirun --oversubscribe "$@"\n'
            )
        os.chmod(path, stat.S_IRWXU)
        server.command += ["--launcher", path]
        with server:
            expected = server.good(COMPLETIONS, GOOD).json["choices"]
            os.kill(server.rank_processes()[1], signal.SIGKILL)
            begin = time.monotonic()
            self.assertEqual(server.good(COMPLETIONS, GOOD, timeout=60).json["choices"], expected)
            self.assertGreater(time.monotonic() - begin, 9)
            self.assertIn("does not end 10 s after SIGKILL", server.log())
            with open(os.path.join(server.work, "undying"), encoding="utf-8") as file:
                os.kill(int(file.read()), signal.SIGKILL)


if __name__ == "__main__":
    main()
