# SPDX-License-Identifier: Apache-2.0
"""Two hosts on this machine, a server over both, and strangers who come to its control port.

Each host is a network and a host name of their own, joined by a virtual cable. That needs the rights of root
(in a user namespace Open MPI 4.1.4 does not start its ranks); without, nothing is tested, and status 77 says so.
"""

import contextlib
import hashlib
import hmac
import os
import shlex
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

from serve_lib import DEMO, FOLKMOOT, Server, eventually

HOST_A, HOST_B = "10.77.0.1", "10.77.0.2"
INSIDE = "FOLKMOOT_TEST_INSIDE"
NAMESPACES = ["unshare", "--net", "--uts", "--mount"]


def enter():
    """Runs this test again, as host a, unless it is that already."""
    if INSIDE in os.environ:
        return
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


def run(*command):
    subprocess.run(command, check=True)


class Cluster:
    """Host a, where we are, and host b at the other end of the cable."""

    def __init__(self):
        self.far = subprocess.Popen(
            ["unshare", "--net", "--uts", "sleep", "infinity"],
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

    def far_processes(self):
        """Of host b, but the one that keeps it."""
        network = os.readlink(f"/proc/{self.far.pid}/ns/net")
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.readlink(f"/proc/{name}/ns/net") == network and int(name) != self.far.pid:
                    yield int(name)
            except OSError:
                continue

    def lose_power(self, seconds):
        """Host b goes without a word, and comes back."""
        self.swallow()
        try:
            for pid in self.far_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(seconds)
        finally:
            self.give_back()

    def end(self):
        self.far.kill()
        self.far.wait()


class HostsServer(Server):
    """Two ranks on each host. mpirun gets by a script that keeps the token of each life."""

    def __init__(self, cluster, *flags, model=DEMO):
        launcher = "mpirun"  # the name says which flags it takes
        super().__init__("--hosts", f"a:2,{HOST_B}:2", *flags, supervised=True, ranks=4, model=model)
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
