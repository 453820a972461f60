# SPDX-License-Identifier: Apache-2.0
"""Shared by the end-to-end tests of `folkmoot serve`: a live server under mpirun, and HTTP by hand.

Usage of a test: NAME.py FOLKMOOT_BINARY SOURCE_DIR [unittest's arguments]
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

FOLKMOOT = os.path.abspath(sys.argv[1]) if len(sys.argv) > 2 else ""
SOURCE = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else ""
DEMO = os.path.join(SOURCE, "models", "demo-kjv")
CONTEXT = 1024  # of the demo model
VOCABULARY = 4096

# With roles and a turn of the assistant: the demo model's own template only joins the messages.
CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)

PROMPT = "And the LORD said unto"

# Waits are as many times as long: a server under a sanitizer is slow.
PATIENCE = float(os.environ.get("FOLKMOOT_TEST_PATIENCE", "1"))


def mpi_environment():
    env = dict(os.environ)
    env["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    env["OMPI_MCA_hwloc_base_binding_policy"] = "none"
    if os.getuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return env


def eventually(condition, seconds=10.0, pause=0.02):
    """Waits until condition() is true; its last value."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Reply:
    """An answer that was read to its end."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def exact(self):
        """JSON whose fractions stay the text that was sent: equal means equal bits."""
        return json.loads(self.body, parse_float=str)

    @property
    def error(self):
        return self.json["error"]


class Stream:
    """Server-sent events of an answer, parsed strictly."""

    def __init__(self, response, connection):
        self.response, self.connection = response, connection
        self.done = False  # [DONE] was seen
        self.pings = 0  # comments so far
        self.last = 0  # number of the last event; they have one where there is a journal

    def __iter__(self):
        while True:
            line = self.response.readline()
            if not line:
                return
            if line == b": ping\n" and self.response.readline() == b"\n":
                self.pings += 1
                continue
            if line.startswith(b"id: "):
                self.last = int(line[4:])
                line = self.response.readline()
            if not line.startswith(b"data: ") or not line.endswith(b"\n") or b"\r" in line:
                raise AssertionError(f"not an event: {line[:200]!r}")
            if self.response.readline() != b"\n":
                raise AssertionError("no blank line after an event")
            if line == b"data: [DONE]\n":
                self.done = True
                continue
            if self.done:
                raise AssertionError(f"an event after [DONE]: {line[:200]!r}")
            yield json.loads(line[6:], parse_float=str)

    def close(self):
        """As a client that vanishes: with a reset, whatever was not read."""
        if self.connection.sock is not None:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.response.close()
        self.connection.close()


class Refusal(AssertionError):
    """An answer that is no stream."""

    def __init__(self, status, what):
        super().__init__(what)
        self.status = status


class Server:
    """`mpirun -n RANKS folkmoot serve MODEL --port 0 ...`, ready when the block begins. Supervised:
    `folkmoot serve MODEL --ranks RANKS ...`."""

    def __init__(self, *flags, ranks=2, model=DEMO, key=None, template=True, supervised=False):
        self.ranks, self.key, self.supervised = ranks, key, supervised
        self.mark = uuid.uuid4().hex  # finds our processes again
        self.work = tempfile.mkdtemp(prefix="folkmoot-serve-")
        self.log_path = os.path.join(self.work, "log")
        flags = list(flags)
        if template:
            path = os.path.join(self.work, "template.jinja")
            with open(path, "w", encoding="utf-8") as file:
                file.write(CHAT_TEMPLATE)
            flags += ["--chat-template", path]
        if key:
            flags += ["--api-key", key]
        if "--port" not in flags:
            flags += ["--port", "0"]
        if supervised:
            flags += ["--ranks", str(ranks)]
        launcher = ["mpirun", "-n", str(ranks)] if ranks and not supervised else []
        self.command = [*launcher, FOLKMOOT, "serve", model, "--threads", "1", *flags]
        self.process = None
        self.port = 0
        self.directories = []  # of a supervised server that was ready; its shared memory has their names

    def launch(self):
        env = mpi_environment()
        env["SERVE_TEST_MARK"] = self.mark
        if self.supervised:
            env["TMPDIR"] = self.work
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
            )
        return self

    def __enter__(self):
        self.launch()
        try:
            if not eventually(self.is_ready, 60):
                raise AssertionError(f"not ready: {self.log()}")
        except BaseException:
            self.kill()
            raise
        self.directories = [name for name in os.listdir(self.work) if name.startswith("folkmoot-")]
        return self

    def __exit__(self, *_):
        self.kill()

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.log()}")
        found = re.search(r"http://[0-9a-z.\[\]:]*?:(\d+)", self.log())
        if not found:
            return False
        self.port = int(found.group(1))
        try:
            return self.get("/ready").status == 200
        except OSError:
            return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def rank_processes(self):
        """{rank: pid} of the ranks of this server that live."""
        return {
            int(environ.get(b"OMPI_COMM_WORLD_RANK", b"0")): pid
            for pid, environ in self.own_processes(os.path.basename(FOLKMOOT))
            if not self.supervised or b"OMPI_COMM_WORLD_RANK" in environ
        }

    def own_processes(self, program=""):
        """(pid, environment) of the processes of this server that live, or of those of a name."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    environ = dict(e.split(b"=", 1) for e in file.read().split(b"\0") if b"=" in e)
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    name, state = re.search(r"\((.*)\) (\w)", file.read()).groups()
            except (OSError, AttributeError):
                continue
            if environ.get(b"SERVE_TEST_MARK") != self.mark.encode():
                continue
            if name.startswith(program[:15]) and state != "Z":
                yield int(pid), environ

    def front_end(self):
        """The process that has the clients of a supervised server."""
        return [
            pid
            for pid, environ in self.own_processes(os.path.basename(FOLKMOOT))
            if b"OMPI_COMM_WORLD_RANK" not in environ and pid != self.process.pid
        ][0]

    def wait(self, seconds=20):
        return self.process.wait(seconds * PATIENCE)

    def kill(self):
        """No grace, nothing left behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in [pid for pid, _ in self.own_processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.work, ignore_errors=True)

    # HTTP.

    def headers(self, more=None):
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return {k: v for k, v in {**headers, **(more or {})}.items() if v is not None}

    def request(self, method, path, body=None, headers=None, timeout=60):
        """One request on a fresh connection. `body`: bytes as they are, anything else as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * PATIENCE)
        try:
            connection.request(method, path, body, self.headers(headers))
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def good(self, path, body, **more):
        reply = self.post(path, body, **more)
        if reply.status != 200:
            raise AssertionError(f"{path} {str(body)[:300]}: {reply.status} {reply.body[:500]!r}")
        return reply

    def stream(self, path, body=None, headers=None, timeout=60):
        """Without a body: what is left of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * PATIENCE)
        if body is None:
            connection.request("GET", path, None, self.headers(headers))
        else:
            connection.request("POST", path, json.dumps({**body, "stream": True}).encode(), self.headers(headers))
        response = connection.getresponse()
        if response.status != 200:
            text = f"{path} {body}: {response.status} {response.read()[:500]!r}"
            raise Refusal(response.status, text)
        if not response.headers["Content-Type"].startswith("text/event-stream"):
            raise AssertionError(response.headers["Content-Type"])
        return Stream(response, connection)

    def events(self, path, body, **more):
        """All events of a stream that ends well."""
        stream = self.stream(path, body, **more)
        events = list(stream)
        stream.connection.close()
        if not stream.done:
            raise AssertionError(f"no [DONE] after {events[-1:]}")
        return events

    def raw(self, data, seconds=20):
        """Bytes in, everything that comes back until the server closes (or the time is over)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            try:
                sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # an early answer: read it
            received = b""
            try:
                while chunk := sock.recv(65536):
                    received += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    # State.

    def metrics(self):
        """{(name, frozenset of (label, value)): number}"""
        values = {}
        for line in self.get("/metrics").body.decode().splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line).groups()
                pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
                values[name, frozenset(pairs)] = float(value)
        return values

    def metric(self, name, metrics=None, **labels):
        """The sum over all series of this name that have the labels."""
        wanted = set(labels.items())
        metrics = self.metrics() if metrics is None else metrics
        series = [v for (key, have), v in metrics.items() if key == name and wanted <= have]
        if not series:
            raise AssertionError(f"no metric {name}{labels}")
        return sum(series)

    def blocks(self):
        """KV pages: (used, cached, free, total) of one moment."""
        metrics = self.metrics()
        parts = [self.metric("moe:kv_blocks", metrics, state=s) for s in ("used", "cached", "free")]
        return *parts, sum(parts)

    def activity(self):
        """Pages in use, sequences running and waiting: all 0 when nothing is going on."""
        metrics = self.metrics()
        return (
            self.metric("moe:kv_blocks", metrics, state="used"),
            self.metric("vllm:num_requests_running", metrics),
            self.metric("vllm:num_requests_waiting", metrics),
        )

    def wait_idle(self, seconds=10):
        """The activity, once it is (0, 0, 0) or the time is over."""
        eventually(lambda: self.activity() == (0, 0, 0), seconds)
        return self.activity()


def together(functions):
    """Runs all at the same time; their results in order. The first error is raised."""
    results, errors = [None] * len(functions), []

    def run(index):
        try:
            results[index] = functions[index]()
        except BaseException as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class ServeTest(unittest.TestCase):
    """A test class with one server for all of its tests."""

    flags = ()
    ranks = 2
    key = None
    server: Server

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.flags, ranks=cls.ranks, key=cls.key).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
