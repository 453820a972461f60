#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server under load: clients that vanish, too many requests, deadlines, slow readers, many streams."""

import http.client
import json
import random
import socket
import threading
import time
import unittest

from serve_lib import PROMPT, Server, ServeTest, Stream, eventually, main, together

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
LONG_RUN = {"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True}
GOOD = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "ignore_eos": True}


class Watcher(threading.Thread):
    """Reads the metrics of a server again and again."""

    def __init__(self, server):
        super().__init__()
        self.server, self.end, self.seen = server, threading.Event(), []

    def run(self):
        while not self.end.wait(0.05):
            self.seen.append(self.server.blocks())

    def stop(self):
        self.end.set()
        self.join()
        return self.seen


class LoadTest(ServeTest):
    ranks = 3
    flags = ("--kv-cache-blocks", "96", "--max-queued-requests", "512")

    def test_disconnects_give_everything_back(self):
        rng = random.Random(3)
        total = self.server.blocks()[3]
        watcher = Watcher(self.server)
        watcher.start()
        plans = [
            {
                "path": rng.choice([COMPLETIONS, CHAT]),
                "n": rng.choice([1, 1, 1, 2]),
                "max_tokens": rng.choice([4, 30, 200]),
                "prompt": [rng.randrange(1, 4096) for _ in range(rng.choice([3, 40, 250]))],
                "leave_after": rng.choice([None, 0, 0, 1, 3, 10, 25]),
                "pause": rng.random(),
            }
            for _ in range(72)
        ]
        # Whoever is slow, clients or engine: these overlap, and have the pages of a load.
        long_run = {"path": COMPLETIONS, "n": 1, "max_tokens": 600, "leave_after": None, "pause": 0}
        plans += [
            {**long_run, "prompt": [rng.randrange(1, 4096) for _ in range(250)]} for _ in range(6)
        ]
        ends = together([lambda p=p: self.follow(p) for p in plans])
        self.assertEqual(self.server.wait_idle(), (0, 0, 0))
        seen = watcher.stop()
        self.assertEqual({s[3] for s in seen}, {total}, "used + cached + free is not constant")
        self.assertGreater(max(s[0] for s in seen), total / 4, "there was no load")
        self.assertGreaterEqual(
            ends.count("finished"), sum(p["leave_after"] is None for p in plans)
        )
        self.assertGreater(ends.count("left"), 20)
        aborted = self.server.metric("vllm:request_success_total", finished_reason="abort")
        self.assertGreater(aborted, 0)
        self.server.good(COMPLETIONS, GOOD)

    def follow(self, plan):
        time.sleep(plan["pause"])
        body = {"max_tokens": plan["max_tokens"], "ignore_eos": True, "n": plan["n"]}
        if plan["path"] == CHAT:
            body["messages"] = [{"role": "user", "content": "word " * (len(plan["prompt"]) // 2)}]
        else:
            body["prompt"] = plan["prompt"]
        stream = self.server.stream(plan["path"], body)
        count = 0
        while count != plan["leave_after"]:
            if next(iter(stream), None) is None:
                self.assertTrue(stream.done)
                stream.connection.close()
                return "finished"
            count += 1
        stream.close()
        return "left"

    def test_a_disconnect_cancels_soon(self):
        for streamed in (True, False):
            with self.subTest(streamed=streamed):
                body = json.dumps({**LONG_RUN, "stream": streamed}).encode()
                sock = socket.create_connection(("127.0.0.1", self.server.port))
                head = (
                    "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                )
                sock.sendall(head.encode() + body)
                self.assertTrue(eventually(lambda: self.server.activity()[1] == 1, 5))
                sock.close()
                left = time.monotonic()
                self.assertEqual(self.server.wait_idle(5), (0, 0, 0))
                self.assertLess(time.monotonic() - left, 1)

    def test_slow_reader_is_cut_off_and_holds_little_memory(self):
        pid = self.server.rank_processes()[0]
        before = memory(pid)
        body = {**LONG_RUN, "n": 8, "logprobs": 20, "stream": True, "seed": 1}
        data = json.dumps(body).encode()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.server.port))
        head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
        sock.sendall(head.encode() + data)
        self.assertTrue(eventually(lambda: self.server.activity()[1] >= 8, 5))
        for _ in range(5):  # others are served meanwhile
            self.server.good(COMPLETIONS, GOOD)
        self.assertEqual(self.server.wait_idle(60), (0, 0, 0))
        self.assertLess(memory(pid) - before, 64 << 20)
        sock.close()

    def test_three_hundred_streams(self):
        body = {**GOOD, "max_tokens": 24}
        expected = self.server.good(COMPLETIONS, body).json["choices"][0]["text"]
        connections = []
        for _ in range(300):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            connection.request("POST", COMPLETIONS, json.dumps({**body, "stream": True}))
            connections.append(connection)
        start = time.monotonic()
        self.server.get("/health")
        self.assertLess(time.monotonic() - start, 2, "the I/O thread is late")
        for connection in connections:
            response = connection.getresponse()
            self.assertEqual(response.status, 200, response.headers)
            stream = Stream(response, connection)
            self.assertEqual("".join(e["choices"][0]["text"] for e in stream), expected)
            self.assertTrue(stream.done)
            connection.close()

    def test_deadlines(self):
        for headers, more in (({}, {"timeout": 0.3}), ({"X-Request-Timeout": "0.3"}, {})):
            body = {**LONG_RUN, "n": 4, **more}
            reply = self.server.post(COMPLETIONS, body, headers=headers)
            self.assertEqual(reply.status, 504, reply.body[:300])
            self.assertEqual(reply.headers["x-should-retry"], "false")
            self.assertIn("deadline", reply.error["message"])
            stream = self.server.stream(COMPLETIONS, body, headers=headers)
            self.assertIn("deadline", list(stream)[-1]["error"]["message"])
            stream.connection.close()
            self.assertEqual(self.server.wait_idle(2), (0, 0, 0))
        self.assertEqual(
            self.server.post(COMPLETIONS, GOOD, headers={"X-Request-Timeout": "-1"}).status, 400
        )


class OverloadTest(unittest.TestCase):
    def test_refuses_what_it_cannot_queue(self):
        with Server("--max-num-seqs", "2", "--max-queued-requests", "4") as server:
            body = {**GOOD, "max_tokens": 60}
            expected = server.good(COMPLETIONS, body).json["choices"]
            replies = together([lambda: server.post(COMPLETIONS, body)] * 32)
            refused = [r for r in replies if r.status == 429]
            served = [r for r in replies if r.status == 200]
            self.assertEqual(len(refused) + len(served), 32, {r.status for r in replies})
            self.assertGreaterEqual(len(served), 4)  # as many as may wait, however slow the engine
            self.assertGreaterEqual(len(refused), 5)
            for reply in served:
                self.assertEqual(reply.json["choices"], expected)
            for reply in refused:
                self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
                self.assertEqual(reply.error["type"], "rate_limit_error")
            self.assertEqual(server.wait_idle(), (0, 0, 0))
            self.assertEqual(
                server.metric("moe:requests_refused_total", reason="queue_full"), len(refused)
            )
            self.assertEqual(server.good(COMPLETIONS, body).json["choices"], expected)

    def test_queue_of_tokens(self):
        with Server("--max-num-seqs", "2", "--max-queued-tokens", "900", ranks=1) as server:
            body = {"prompt": list(range(1, 401)), "max_tokens": 100, "ignore_eos": True}
            replies = together([lambda: server.post(COMPLETIONS, body)] * 16)
            statuses = [r.status for r in replies]
            self.assertEqual(set(statuses), {200, 429})

    def test_priorities_and_their_order(self):
        with Server("--max-num-seqs", "1", "--scheduling-policy", "priority", ranks=1) as server:
            first = server.stream(COMPLETIONS, {**LONG_RUN, "max_tokens": 300, "priority": -9})
            next(iter(first))
            order = []

            def ask(priority):
                server.good(COMPLETIONS, {**GOOD, "max_tokens": 40, "priority": priority})
                order.append(priority)

            waiting = [threading.Thread(target=ask, args=(p,)) for p in (5, 1, 3)]
            for thread in waiting:
                thread.start()
            self.assertTrue(eventually(lambda: server.activity()[2] == 3))
            list(first)
            first.connection.close()
            for thread in waiting:
                thread.join()
            self.assertEqual(order, [1, 3, 5])
        with Server(ranks=1) as server:
            self.assertEqual(server.post(COMPLETIONS, {**GOOD, "priority": 1}).status, 400)


def memory(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm", encoding="utf-8") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
