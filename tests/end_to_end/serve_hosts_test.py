#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A supervised server over two hosts: ranks, daemons and the link between them fail, strangers come
to the control port, and no request is lost or changed. The hosts are hosts_lib's.
"""

import hashlib
import hmac
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

from hosts_lib import HOST_A, HOST_B, Cluster, HostsServer, Stranger, enter, frame, listening, receive
from serve_lib import DEMO, FOLKMOOT, PATIENCE, Server, eventually, main
from serve_supervised_test import Client, body

CLIENTS = 8


def load(server, while_it_runs=lambda: None):
    clients = [Client(server, body(i, 150)) for i in range(CLIENTS)]
    while_it_runs()
    for client in clients:
        client.join(60 * PATIENCE)
    return clients


class HostsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.end)
        with Server(supervised=True, ranks=4) as server:
            cls.expected = load(server)

    def assert_nothing_lost(self, clients):
        for client, right in zip(clients, self.expected):
            self.assertIsNone(right.failure)
            self.assertIsNone(client.failure)
            self.assertEqual(client.heard, right.heard)

    def restarts(self, server):
        return server.metric("moe:engine_restarts_total")

    def up_again(self, server, restarts):
        def up():
            return self.restarts(server) >= restarts and server.get("/ready").status == 200

        self.assertTrue(eventually(up, 30), server.log())

    def kill(self, server, rank, number=signal.SIGKILL):
        def kill():
            self.assertTrue(eventually(lambda: rank in server.rank_processes(), 10), server.log())
            time.sleep(0.3)
            pid = server.rank_processes()[rank]
            os.kill(pid, number)
            return pid

        return kill

    def kill_daemon(self, server):
        def kill():
            time.sleep(0.3)
            os.kill([pid for pid, _ in server.own_processes("orted")][0], signal.SIGKILL)

        return kill

    def stop(self, server, rank, noticed):
        def stop():
            pid = self.kill(server, rank, signal.SIGSTOP)()
            start = time.monotonic()
            words = f"rank {rank} has not given a sign of life"
            self.assertTrue(eventually(lambda: words in server.log(), 10), server.log())
            noticed.append(time.monotonic() - start)
            # It is ended although it cannot hear, and before the next life begins.
            self.assertTrue(eventually(lambda: not os.path.exists(f"/proc/{pid}"), 10))

        return stop

    def test_failures_on_either_host(self):
        noticed = []
        with HostsServer(self.cluster) as server:
            run_directory = [n for n in os.listdir(server.work) if n.startswith("folkmoot-")][0]
            ours = (run_directory, "vader_segment.a.", "vader_segment.b.")
            self.assert_nothing_lost(load(server))
            failures = [
                self.kill(server, 0),
                self.kill(server, 3),
                self.kill_daemon(server),
                self.stop(server, 1, noticed),
                self.stop(server, 2, noticed),
            ]
            pauses = []
            for i, failure in enumerate(failures):
                with self.subTest(i):
                    clients = load(server, failure)
                    self.assert_nothing_lost(clients)
                    pauses.append(max(client.pause for client in clients))
                    self.up_again(server, i + 1)
            print(f"pauses in seconds: {pauses}, stops noticed after {noticed}", file=sys.stderr)
            self.assertLess(max(noticed), 4)
            self.assertRegex(server.log(), r"rank 3 \(pid \d+ on b\) is gone")
            self.assertRegex(server.log(), r"rank 0 \(pid \d+\) is gone")
            self.assertEqual(len(set(server.tokens())), 6)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(), 0, server.log())
            self.assertTrue(eventually(lambda: not list(server.own_processes()), 5))
            self.assertNotIn("A system call failed", server.log())
            left = [name for name in os.listdir("/dev/shm") if name.startswith(ours)]
            self.assertEqual(left, [])

    def test_a_cut_link(self):
        self.cut_link(self.cluster.cut, self.cluster.mend)

    def test_a_link_that_loses_everything(self):
        self.cut_link(self.cluster.swallow, self.cluster.give_back)

    def cut_link(self, cut, mend):
        with HostsServer(self.cluster) as server:
            far = [server.rank_processes()[rank] for rank in (2, 3)]
            times = {}

            def lose():
                time.sleep(0.3)
                start = time.monotonic()
                cut()
                try:
                    words = "has not given a sign of life", "have not given a sign of life"
                    self.assertTrue(eventually(lambda: any(w in server.log() for w in words), 10))
                    times["noticed"] = time.monotonic() - start
                    # Nobody can reach them: they end by themselves.
                    gone = eventually(lambda: not any(pid in far for pid, _ in server.own_processes()))
                    self.assertTrue(gone, server.log())
                    times["ended"] = time.monotonic() - start
                finally:
                    mend()

            self.assert_nothing_lost(load(server, lose))
            self.up_again(server, 1)
            print(f"seconds after the cut: {times}", file=sys.stderr)
            self.assertLess(times["noticed"], 3)
            self.assertLess(times["ended"], 6)

    def test_a_rank_that_hears_nothing_ends_by_itself(self):
        # A rank without a launcher on host b, and a supervisor that we play.
        token, nonce = os.urandom(32), os.urandom(32)
        name = f"alone-{os.getpid()}"
        self.addCleanup(shutil.rmtree, f"/dev/shm/{name}-1", ignore_errors=True)
        with socket.create_server((HOST_A, 0)) as listening:
            address = f"{HOST_A}:{listening.getsockname()[1]}"
            flags = ["--supervised", f"/nowhere/{name}", "--epoch", "1", "--control", address]
            rank = subprocess.Popen(
                [*self.cluster.inside_b, FOLKMOOT, "serve", DEMO, "--threads", "1", *flags],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            rank.stdin.write(token.hex().encode() + b"\n")
            rank.stdin.flush()
            line, _ = listening.accept()
            with line:
                line.sendall(frame(b"\x0a\x20" + nonce))
                greeting = receive(line, struct.unpack("<I", receive(line, 4))[0])
                ours = greeting.split(b"\x1a\x20")[1][:32]
                proven = nonce + ours + struct.pack("<bq", 0, 1) + b"folkmoot supervisor"
                line.sendall(frame(b"\x0a\x20" + hmac.digest(token, proven, hashlib.sha256)))
                hello = receive(line, struct.unpack("<I", receive(line, 4))[0])
                self.assertIn(b"\x22\x01b", hello)  # field 4: from host b
                receive(line, 1000)  # it beats
                self.cluster.swallow()
                start = time.monotonic()
                try:
                    words = rank.communicate(timeout=10)[1].decode()
                finally:
                    self.cluster.give_back()
                    rank.kill()
                seconds = time.monotonic() - start
            self.assertIn("the supervisor is gone", words)
            print(f"alone for {seconds} s", file=sys.stderr)
            self.assertLess(seconds, 5)

    def test_strangers(self):
        with HostsServer(self.cluster) as server:
            os.kill(server.rank_processes()[3], signal.SIGKILL)
            self.up_again(server, 1)
            old, token = server.tokens()
            # The protocol as written down is the one that is spoken.
            guest = Stranger(server)
            self.assertTrue(guest.greet(token, 2))
            guest.sock.sendall(frame(b"\xff" * 100))  # and yet no rank
            self.assertEqual(guest.heard(), b"")
            idle = []

            def come():
                for _ in range(200):
                    idle.append(Stranger(server))
                for message in (os.urandom(1000), b"GET / HTTP/1.1\r\n\r\n", frame(b""), b"\xff" * 4,
                                frame(os.urandom(78)), struct.pack("<I", 1 << 31)):  # fmt: skip
                    stranger = Stranger(server)
                    stranger.challenged()
                    stranger.sock.sendall(message)
                    self.assertEqual(stranger.heard(), b"")
                self.assertFalse(Stranger(server).greet(os.urandom(32), 2))
                self.assertFalse(Stranger(server).greet(old, 1))
                self.assertFalse(Stranger(server).greet(old, 2))
                self.assertFalse(Stranger(server).greet(token, 1))
                cut_off = Stranger(server)
                cut_off.sock.sendall(frame(os.urandom(78))[:40])
                self.assertEqual(len(cut_off.challenged()), 32)
                idle.append(cut_off)

            self.assert_nothing_lost(load(server, come))
            # A new life finds its way in between them.
            flood = threading.Event()

            def flooding():
                while not flood.is_set():
                    idle.append(Stranger(server))
                    time.sleep(0.005)

            thread = threading.Thread(target=flooding)
            thread.start()
            try:
                self.assert_nothing_lost(load(server, self.kill(server, 2)))
            finally:
                flood.set()
                thread.join()
            self.assertEqual(self.restarts(server), 2)
            lines = [line for line in server.log().splitlines() if "at the control port" in line]
            self.assertLess(len(lines), 10)
            self.assertGreater(len(lines), 0)

    def test_who_listens_where(self):
        with HostsServer(self.cluster) as server:
            host, port = server.control()
            self.assertEqual(host, HOST_A)
            heard = listening(server.supervisors())
            self.assertEqual(heard, {f"01004D0A:{port:04X}", f"0100007F:{server.port:04X}"})
            with self.assertRaises(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=2)
            # No word of the token where others can read it.
            token = server.tokens()[0].hex().encode()
            for pid, _ in server.own_processes():
                for name in ("cmdline", "environ"):
                    with open(f"/proc/{pid}/{name}", "rb") as file:
                        self.assertNotIn(token, file.read())
            self.assertNotIn(token.decode(), server.log())

    def test_one_host_opens_one_port(self):
        with Server(supervised=True, ranks=2) as server:
            ours = [pid for pid, _ in server.own_processes(os.path.basename(FOLKMOOT))]
            self.assertEqual(listening(ours), {f"0100007F:{server.port:04X}"})
            time.sleep(0.5)  # more than it takes to look
            self.assertNotIn("listens at", server.log())
        os.environ.update(OMPI_MCA_pml="ob1", OMPI_MCA_btl="self,tcp")
        try:
            with Server(supervised=True, ranks=2) as server:
                warned = re.compile(r"folkmoot \(pid \d+\) listens at 0.0.0.0:\d+")
                self.assertTrue(eventually(lambda: warned.search(server.log()), 5), server.log())
        finally:
            del os.environ["OMPI_MCA_pml"], os.environ["OMPI_MCA_btl"]

    def test_a_host_that_is_lost_for_good(self):
        with HostsServer(self.cluster, "--exit-on-engine-failure") as server:
            with open(server.lost, "w", encoding="utf-8"):
                pass
            self.kill_daemon(server)()
            self.assertEqual(server.wait(40), 1)
            self.assertRegex(server.log(), f"given up: .*none from .*{HOST_B}")

    def test_usage(self):
        for flags, words in {
            ("--hosts", "a:2", "--hostfile", "f"): "say the same",
            ("--hosts", "a:x"): "a number of ranks",
            ("--hosts", "-oProxyCommand=x:2"): "no name of a host",
            ("--hostfile", "/nowhere"): "cannot be read",
            ("--hosts", "a:4"): "--control-host",
            ("--hosts", "a:2,b:2", "--control-host", "0.0.0.0"): "every address",
            ("--hosts", "a:2,b:2", "--launcher", "srun"): "for mpirun",
            ("--control-host", "192.0.2.77"): "cannot listen at 192.0.2.77",
        }.items():
            with self.subTest(flags):
                command = [FOLKMOOT, "serve", DEMO, "--ranks", "2", "--port", "0", *flags]
                ended = subprocess.run(command, capture_output=True, timeout=20, check=False)
                self.assertIn(ended.returncode, (1, 2))
                self.assertIn(words, ended.stderr.decode())


if __name__ == "__main__":
    enter()
    main()
