#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A supervised server over two hosts: ranks, daemons and the link between them fail, strangers come
to the control port, and no request is lost or changed.

Both hosts are on this machine: network and host name of their own, joined by a virtual cable. That
needs the rights of root (in a user namespace Open MPI 4.1.4 does not start its ranks); without,
nothing is tested, and status 77 says so.
"""

import hashlib
import hmac
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import unittest

HOST_A, HOST_B = "10.77.0.1", "10.77.0.2"
INSIDE = "FOLKMOOT_TEST_INSIDE"
NAMESPACES = ["unshare", "--net", "--uts", "--mount"]


def enter():
    """Runs this test again, as host a."""
    make = "ip link set lo up && ip link add cable type veth peer name other"
    try:
        tried = subprocess.run([*NAMESPACES, "sh", "-c", make], capture_output=True, check=False)
        failure = tried.stderr.decode().strip() if tried.returncode else ""
    except OSError as error:
        failure = str(error)
    if failure:
        print(f"SKIPPED: several hosts were NOT tested: no network of their own: {failure}")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execvp(NAMESPACES[0], [*NAMESPACES, sys.executable, "-W", "ignore", *sys.argv])


if __name__ == "__main__" and INSIDE not in os.environ:
    enter()

# pylint: disable=wrong-import-position
from serve_lib import DEMO, FOLKMOOT, Server, eventually, main
from serve_supervised_test import Client, body

CLIENTS = 8


def run(*command):
    subprocess.run(command, check=True)


class Cluster:
    """Host a, where we are, and host b at the other end of the cable."""

    def __init__(self):
        self.far = subprocess.Popen(
            ["unshare", "--net", "--uts", "sleep", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            self.join()
        except BaseException:
            self.end()
            raise

    def join(self):
        ours = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{self.far.pid}/ns/net") != ours)
        self.inside_b = ["nsenter", "-t", str(self.far.pid), "--net", "--uts"]
        run("hostname", "a")
        run(*self.inside_b, "hostname", "b")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns",
            str(self.far.pid))  # fmt: skip
        self.plug(("ip", "addr", "add", f"{HOST_A}/24", "dev", "cable"), [])
        self.plug(("ip", "addr", "add", f"{HOST_B}/24", "dev", "cable"), self.inside_b)

    @staticmethod
    def plug(address, inside):
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, *address)
        run(*inside, "ip", "link", "set", "cable", "up")

    @staticmethod
    def cut():
        """Both hosts see that the cable is out."""
        run("ip", "link", "set", "cable", "down")

    @staticmethod
    def mend():
        run("ip", "link", "set", "cable", "up")

    def neighbours(self, verb, *more):
        run("ip", "neigh", verb, HOST_B, "dev", "cable", *more)
        run(*self.inside_b, "ip", "neigh", verb, HOST_A, "dev", "cable", *more)

    def swallow(self):
        """What is sent arrives nowhere, and nobody says so."""
        self.neighbours("replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent")

    def give_back(self):
        self.neighbours("del")

    def end(self):
        self.far.kill()
        self.far.wait()


class HostsServer(Server):
    """Two ranks on each host. mpirun gets by a script that keeps the token of each life."""

    def __init__(self, cluster, *flags):
        launcher = "mpirun"  # the name says which flags it takes
        super().__init__("--hosts", f"a:2,{HOST_B}:2", *flags, supervised=True, ranks=4)
        self.command += ["--launcher", os.path.join(self.work, launcher)]
        self.lost = os.path.join(self.work, "lost")  # while it exists, host b cannot be reached
        self.write(
            launcher,
            'read -r token && echo "$token" >>"$0.tokens" && echo "$token" >"$0.input"\n'
            'exec mpirun "$@" <"$0.input"\n',
        )
        # ssh HOST COMMAND..., whose environment is a new one.
        home = shlex.join([f"HOME={self.work}", f"TMPDIR={self.work}/b", f"PATH={os.environ['PATH']}"])
        os.mkdir(os.path.join(self.work, "b"))
        self.agent = self.write(
            "agent",
            f'[ "$1" = {HOST_B} ] && [ ! -e {self.lost} ] || exit 255\nshift\n'
            f"exec {shlex.join(cluster.inside_b)} env -i {home} SERVE_TEST_MARK={self.mark} "
            'sh -c "$*"\n',
        )

    def write(self, name, script):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, stat.S_IRWXU)
        return path

    def launch(self):
        os.environ["OMPI_MCA_plm_rsh_agent"] = self.agent
        try:
            return super().launch()
        finally:
            del os.environ["OMPI_MCA_plm_rsh_agent"]

    def tokens(self):
        with open(os.path.join(self.work, "mpirun.tokens"), encoding="utf-8") as file:
            return [bytes.fromhex(line) for line in file.read().split()]

    def control(self):
        address = self.log().split("ranks find the supervisor at ")[1].split()[0]
        return address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1])

    def supervisors(self):
        """Processes of the server that are no ranks: the supervisor and the front end."""
        return [
            pid
            for pid, environ in self.own_processes(os.path.basename(FOLKMOOT))
            if b"OMPI_COMM_WORLD_RANK" not in environ
        ]


def load(server, while_it_runs=lambda: None):
    clients = [Client(server, body(i, 150)) for i in range(CLIENTS)]
    while_it_runs()
    for client in clients:
        client.join(60)
    return clients


def frame(message):
    return struct.pack("<I", len(message)) + message


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def receive(sock, size):
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def listening(processes):
    """The addresses at which they listen, as the kernel writes them."""
    inodes = set()
    for pid in processes:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
            except OSError:
                pass
    found = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="utf-8") as file:
            for line in file.read().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                    found.add(words[1])
    return found


class Stranger:
    """The handshake of proto/control.proto, by hand."""

    def __init__(self, server):
        self.sock = socket.create_connection(server.control(), timeout=10)

    def challenged(self):
        size = struct.unpack("<I", receive(self.sock, 4))[0]
        challenge = receive(self.sock, size)
        assert challenge[:2] == b"\x0a\x20", challenge  # field 1, 32 bytes
        return challenge[2:]

    def greet(self, token, epoch, purpose=0):
        """Is there a welcome, and is it one of somebody who knows the token?"""
        theirs, ours = self.challenged(), os.urandom(32)
        proven = theirs + ours + struct.pack("<bq", purpose, epoch)
        proof = hmac.digest(token, proven + b"folkmoot rank", hashlib.sha256)
        greeting = b"\x08" + varint(purpose) + b"\x10" + varint(epoch)
        self.sock.sendall(frame(greeting + b"\x1a\x20" + ours + b"\x22\x20" + proof))
        answer = self.heard()
        right = hmac.digest(token, proven + b"folkmoot supervisor", hashlib.sha256)
        return answer == frame(b"\x0a\x20" + right)

    def heard(self):
        """What comes before the end, or before nothing comes for a second."""
        self.sock.settimeout(1)
        data = b""
        try:
            while more := self.sock.recv(1000):
                data += more
        except (TimeoutError, ConnectionResetError):
            pass
        return data


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
    main()
