#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a server must refuse, over real HTTP. A good request follows every bad one."""

import json
import re

from serve_lib import CONTEXT, PROMPT, VOCABULARY, ServeTest, main

COMPLETIONS, CHAT, GENERATE = "/v1/completions", "/v1/chat/completions", "/generate"
GOOD = {"prompt": PROMPT, "max_tokens": 3, "temperature": 0}
MESSAGES = [{"role": "user", "content": "Hi"}]
KEY = "correct-horse"

# As they stand in the JSON text. The API says which of them a field may take.
INTEGERS = ["-1", "-9223372036854775808", "2147483648", "9007199254740993", "9223372036854775808",
            "1e300", "1e400", "-1e400", "1.5", "\"1\"", "\"x\"", "NaN", "Infinity", "-Infinity", "[]", "{}", "[1]", "true"]  # fmt: skip
NUMBERS = [
    "-1e9",
    "1e9",
    "1e400",
    "-1e400",
    '"0.5"',
    "NaN",
    "Infinity",
    "-Infinity",
    "[]",
    "{}",
    "true",
]

INTEGER_FIELDS = {
    COMPLETIONS: ["max_tokens", "min_tokens", "n", "top_k", "seed", "logprobs", "prompt_logprobs",
                  "truncate_prompt_tokens", "priority"],  # fmt: skip
    CHAT: [
        "max_tokens",
        "max_completion_tokens",
        "min_tokens",
        "n",
        "top_k",
        "seed",
        "top_logprobs",
    ],
}
NUMBER_FIELDS = ["temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty",
                 "repetition_penalty", "timeout"]  # fmt: skip
# Values of the lists above that mean something.
TAKEN = {
    "max_tokens": ["2147483648"], "seed": ["-1", "-9223372036854775808", "2147483648", "9007199254740993"],
    "top_k": ["-1", "2147483648"], "truncate_prompt_tokens": ["-1", "2147483648"], "priority": ["-1"],
}  # fmt: skip

BAD_COMPLETIONS = {
    "no prompt": {},
    "null prompt": {"prompt": None},
    "empty text": {"prompt": ""},
    "empty list": {"prompt": []},
    "empty lists": {"prompt": [[]]},
    "one of the texts is empty": {"prompt": ["a", ""]},
    "mixed": {"prompt": ["a", 1]},
    "mixed ids": {"prompt": [1, "a"]},
    "an object": {"prompt": {"a": 1}},
    "a number": {"prompt": 5},
    "nested too deep": {"prompt": [[[1]]]},
    "negative id": {"prompt": [-1]},
    "id beyond the vocabulary": {"prompt": [VOCABULARY]},
    "huge id": {"prompt": [2**63]},
    "fraction of an id": {"prompt": [1.5]},
    "too many prompts": {"prompt": ["a"] * 2049},
    "too many choices": {"n": 10**9},
    "many prompts times many choices": {"prompt": ["a"] * 2048, "n": 129},
    "million stop strings": {"stop": ["x"] * 10**6},
    "long stop string": {"stop": "x" * 10**6},
    "stop is a number": {"stop": 3},
    "million stop ids": {"stop_token_ids": [1] * 10**6},
    "stop id beyond the vocabulary": {"stop_token_ids": [2**31]},
    "bias of no id": {"logit_bias": {"x": 1}},
    "bias of an id beyond": {"logit_bias": {str(VOCABULARY): 1}},
    "bias of a negative id": {"logit_bias": {"-1": 1}},
    "bias too large": {"logit_bias": {"5": 101}},
    "bias is a list": {"logit_bias": [1, 2]},
    "bias is text": {"logit_bias": {"5": "1"}},
    "million biases": {"logit_bias": {str(i): 1 for i in range(10**5)}},
    "nothing is allowed": {"allowed_token_ids": []},
    "allowed beyond": {"allowed_token_ids": [VOCABULARY]},
    "bad words": {"bad_words": [1]},
    "more minimum than maximum": {"min_tokens": 4, "max_tokens": 3},
    "more outputs than beams": {"num_beams": 2, "n": 3},
    "beams with penalties": {"num_beams": 2, "presence_penalty": 1},
    "a language without an encoder": {"target_language": "fra_Latn"},
    "suffix": {"suffix": "x"},
    "options of no stream": {"stream_options": {"include_usage": True}},
    "options of another type": {"stream": True, "stream_options": {"include_usage": "x"}},
    "stream is text": {"stream": "yes"},
    "scores of a streamed prompt": {"stream": True, "prompt_logprobs": 1},
    "top_p of 0": {"top_p": 0},
    "two constraints": {"structured_outputs": {"regex": "a", "choice": ["b"]}},
    "no constraint": {"structured_outputs": {"what": "a"}},
    "a regex that is none": {"structured_outputs": {"regex": "(["}},
    "a deep regex": {"structured_outputs": {"regex": "(" * 60000 + ")" * 60000}},
    "a regex that explodes": {"structured_outputs": {"regex": "(([ab]{1,99}){1,99}){1,99}c[ab]{200}"}},
    "a reference to elsewhere": {"structured_outputs": {"json": {"$ref": "http://localhost/x"}}},
    "a schema of no kind": {"structured_outputs": {"json": {"type": "what"}}},
    "a deep schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": None}}},
    "an unknown format": {"response_format": {"type": "xml"}},
    "empty choices": {"structured_outputs": {"choice": []}},
    "a gate knob without leave": {"gate": {"capacity_factor": 1}},
    "a salt that is a number": {"cache_salt": 5},
    "an id with a line break": {"request_id": "a\r\nX-Evil: 1"},
    "a deadline in the past": {"timeout": 0},
}  # fmt: skip

BAD_CHATS = {
    "no messages": {},
    "empty messages": {"messages": []},
    "messages is text": {"messages": "Hi"},
    "message is text": {"messages": ["Hi"]},
    "no role": {"messages": [{"content": "Hi"}]},
    "role is a number": {"messages": [{"role": 1, "content": "Hi"}]},
    "content is a number": {"messages": [{"role": "user", "content": 5}]},
    "an image": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1\\@x/"}}]}]},
    "a part of no type": {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
    "a template from outside": {"messages": MESSAGES, "chat_template": "{{ 1 }}"},
    "template variables that are ours": {"messages": MESSAGES, "chat_template_kwargs": {"messages": []}},
    "variables are a list": {"messages": MESSAGES, "chat_template_kwargs": [1]},
    "tools are text": {"messages": MESSAGES, "tools": "x"},
    "a tool that is required": {"messages": MESSAGES, "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"},
    "both ways to continue": {"messages": MESSAGES, "continue_final_message": True, "add_generation_prompt": True},
    "best logprobs without logprobs": {"messages": MESSAGES, "top_logprobs": 3},
    "too many logprobs": {"messages": MESSAGES, "logprobs": True, "top_logprobs": 21},
}  # fmt: skip

NOT_JSON = {
    "nothing": b"",
    "space": b"  ",
    "half an object": b'{"prompt": "a"',
    "trailing comma": b'{"prompt": "a",}',
    "two objects": b'{"prompt": "a"}{}',
    "a list": b'[{"prompt": "a"}]',
    "a number": b"5",
    "single quotes": b"{'prompt': 'a'}",
    "invalid UTF-8": b'{"prompt": "a\xff\xfeb"}',
    "overlong UTF-8": b'{"prompt": "\xc0\xaf"}',
    "half a surrogate pair": b'{"prompt": "\\ud800"}',
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "control character": b'{"prompt": "a\x00"}',
    "deep lists": b'{"prompt": ' + b"[" * 60000 + b"]" * 60000 + b"}",
    "deep lists without an end": b'{"prompt": ' + b"[" * 60000,
    "deep objects": b'{"prompt": "a", "x": ' + b'{"a":' * 60000 + b"1" + b"}" * 60001,
    "deep schema": b'{"prompt": "a", "guided_json": ' + b'{"not":' * 200000 + b"{}" + b"}" * 200001,
    "a number of a million digits": b'{"prompt": "a", "seed": ' + b"9" * 10**6 + b"}",
    "hexadecimal": b'{"prompt": "a", "seed": 0x10}',
}

HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENOUGH = json.dumps(GOOD).encode()
BAD_HTTP = {
    "not HTTP": (b"hello\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, {400}),
    "HTTP/9": (b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", {400, 505}),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", {400, 200}),
    "bad header": (HEAD + b"No colon here\r\n\r\n", {400}),
    "folded header": (HEAD + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}", {400}),
    "negative length": (HEAD + b"Content-Length: -5\r\n\r\n", {400}),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}", {400}),
    "length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "huge length": (HEAD + b"Content-Length: 99999999999\r\n\r\n", {413}),
    "endless length": (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", {400, 413}),
    "chunk of -2": (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk of 0x2": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunk of 17 digits": (CHUNKED + b"10000000000000002\r\n{}\r\n", {400, 413}),
    "chunk without size": (CHUNKED + b"\r\n{}\r\n", {400}),
    "huge chunk": (CHUNKED + b"7fffffffffff\r\n{}", {413}),
    "a million chunks": (CHUNKED + b"1\r\n \r\n" * 10**6, {413}),
    "many headers": (HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(10000)) + b"\r\n", {431}),
    "long header": (HEAD + b"X-A: " + b"y" * (8 << 20) + b"\r\n\r\n", {431}),
    "long target": (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431, 400}),
    "unknown encoding": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", {400, 501}),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", {401, 200, 400}),
}  # fmt: skip

ROUTES = [("POST", p) for p in (COMPLETIONS, CHAT, GENERATE, "/tokenize", "/detokenize", "/ping")] + [
    ("GET", p) for p in ("/v1/models", "/v1/models/x", "/tokenizer_info", "/metrics", "/version", "/load", "/ping",
                         "/server_info", "/get_server_info", "/model_info", "/get_model_info", "/moe/experts",
                         "/moe/events", "/nothing", "/v1", "/v1/completions/../models", "//metrics", "/%6detrics")
]  # fmt: skip


class BadInputTest(ServeTest):
    ranks = 2
    key = KEY
    flags = ("--scheduling-policy", "priority", "--enable-log-requests")

    def tearDown(self):
        self.assertEqual(self.server.wait_idle(), (0, 0, 0))
        self.assertEqual(sorted(self.server.rank_processes()), [0, 1])

    def refused(self, path, body, statuses=(400,), why=""):
        reply = self.server.post(path, body)
        text = body[:200] if isinstance(body, bytes) else str(body)[:200]
        self.assertIn(reply.status, statuses, f"{why}: {path} {text}: {reply.body[:300]!r}")
        self.assertEqual(sorted(reply.error), ["code", "message", "param", "type"])
        self.assertIsInstance(reply.error["message"], str)
        self.assertLess(len(reply.body), 4000)
        self.assertEqual(self.server.post(COMPLETIONS, GOOD).status, 200, f"after {why}")
        return reply

    def with_value(self, path, field, value):
        """A good request but for one field, whose value is JSON text."""
        rest = {"max_tokens": 2, "logprobs": True} if path == CHAT else dict(GOOD)
        rest.update({"messages": MESSAGES} if path == CHAT else {})
        if field != "top_logprobs":
            rest.pop("logprobs", None)
        rest.pop(field, None)
        return (json.dumps(rest)[:-1] + f', "{field}": {value}}}').encode()

    def test_numeric_fields(self):
        cases = [
            (path, f, v)
            for path, fields in INTEGER_FIELDS.items()
            for f in fields
            for v in INTEGERS
        ]
        cases += [
            (path, f, v) for path in (COMPLETIONS, CHAT) for f in NUMBER_FIELDS for v in NUMBERS
        ]
        for path, field, value in cases:
            with self.subTest(path=path, field=field, value=value):
                reply = self.server.post(path, self.with_value(path, field, value))
                if value in TAKEN.get(field, []):
                    self.assertIn(reply.status, (200, 400), reply.body[:200])
                else:
                    self.assertEqual(reply.status, 400, reply.body[:200])
                    if value.strip("-").replace("e400", "") not in ("NaN", "Infinity", "1"):
                        self.assertEqual(reply.error["param"], field)
        for path, fields in INTEGER_FIELDS.items():
            for field in fields:
                self.assertEqual(
                    self.server.post(path, self.with_value(path, field, "null")).status, 200, field
                )
        self.server.good(COMPLETIONS, GOOD)

    def test_completions(self):
        for why, body in BAD_COMPLETIONS.items():
            with self.subTest(why):
                if "prompt" not in why or "prompt" in body:
                    body = {**GOOD, **body}
                self.refused(
                    COMPLETIONS, {"max_tokens": 3} if why == "no prompt" else body, why=why
                )

    def test_chats(self):
        for why, body in BAD_CHATS.items():
            with self.subTest(why):
                self.refused(CHAT, {"max_tokens": 3, **body}, why=why)

    def test_not_json(self):
        for why, body in NOT_JSON.items():
            for path in (COMPLETIONS, CHAT, GENERATE, "/tokenize", "/detokenize"):
                with self.subTest(why, path=path):
                    self.refused(path, body, why=why)

    def test_too_long(self):
        for prompt in (list(range(1, 2001)), "word " * 5000, [1] * CONTEXT):
            reply = self.refused(COMPLETIONS, {"prompt": prompt, "max_tokens": 5})
            self.assertIn(f"maximum context length is {CONTEXT} tokens", reply.error["message"])
        self.refused(COMPLETIONS, {"prompt": PROMPT, "max_tokens": CONTEXT})
        chat = self.refused(CHAT, {"messages": [{"role": "user", "content": "word " * 9000}]})
        self.assertIn(f"maximum context length is {CONTEXT} tokens", chat.error["message"])
        self.server.good(COMPLETIONS, {"prompt": [1] * (CONTEXT - 1), "max_tokens": 1})

    def test_other_endpoints(self):
        for body in ({}, {"text": ""}, {"input_ids": [-1]}, {"text": "a", "input_ids": [1]}, {"text": 5},
                     {"text": "a", "sampling_params": []}, {"text": "a", "sampling_params": {"max_new_tokens": -1}}):  # fmt: skip
            self.refused(GENERATE, body)
        for body in ({}, {"prompt": 5}, {"prompt": "a", "messages": MESSAGES}):
            self.refused("/tokenize", body)
        for body in (
            {},
            {"tokens": "a"},
            {"tokens": [-1]},
            {"tokens": [VOCABULARY]},
            {"tokens": [[1]]},
            {"tokens": [1.5]},
        ):
            self.refused("/detokenize", body)
        wrong = self.refused(COMPLETIONS, {**GOOD, "model": "gpt-4"}, (404,))
        self.assertEqual(wrong.error["message"], "The model `gpt-4` does not exist.")

    def test_paths_and_methods(self):
        self.assertEqual(self.server.get("/nothing").status, 404)
        self.assertEqual(self.server.get("/v1/completions/").status, 404)
        for method, path in (
            ("GET", COMPLETIONS),
            ("DELETE", "/v1/models"),
            ("PUT", "/health"),
            ("POST", "/metrics"),
        ):
            reply = self.server.request(method, path)
            self.assertEqual(reply.status, 405, path)
            self.assertIn("Allow", reply.headers)
        self.assertNotIn(
            "Access-Control-Allow-Origin",
            self.server.get("/health", headers={"Origin": "http://a"}).headers,
        )

    def test_keys(self):
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Bearer {KEY}x",
            f"Bearer {KEY[:-1]}",
            f"Basic {KEY}",
            KEY,
        ):
            for method, path in ROUTES:
                body = GOOD if method == "POST" else None
                reply = self.server.request(method, path, body, {"Authorization": authorization})
                if ".." in path:  # not even a path
                    self.assertEqual(reply.status, 400)
                    continue
                self.assertEqual(
                    reply.status, 401, f"{authorization} {method} {path}: {reply.body[:200]}"
                )
                self.assertEqual(reply.error["type"], "authentication_error")
        for path in ("/health", "/ready"):
            self.assertEqual(self.server.get(path, headers={"Authorization": None}).status, 200)
        self.server.good(COMPLETIONS, GOOD)

    def test_http(self):
        for why, (data, statuses) in BAD_HTTP.items():
            with self.subTest(why):
                answer = self.server.raw(data)
                self.assertRegex(answer[:12], rb"HTTP/1.1 \d\d\d", why)
                self.assertIn(int(answer[9:12]), statuses, answer[:300])
                self.assertEqual(
                    len(re.findall(rb"^HTTP/1.1 \d", answer, re.MULTILINE)), 1, "more answers"
                )
                self.server.good(COMPLETIONS, GOOD)
        self.assertEqual(
            self.server.raw(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(ENOUGH), ENOUGH), 5)[9:12],
            b"200",
        )

    def test_words_of_users(self):
        """Answers are always valid JSON; what users wrote is not special, and neither it nor the
        answer nor the key is in the log, in a metric or in an error."""
        secret = "Zerubbabel-7741"
        for prompt in (secret, "\\u0000 \u2028 \ufffd \U0001f600", "<|endoftext|>" * 3, "\t\n"):
            self.assertIsInstance(
                self.server.good(
                    COMPLETIONS, {**GOOD, "prompt": prompt, "echo": True, "logprobs": 2}
                ).json,
                dict,
            )
            chat = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 2}
            self.assertIsInstance(self.server.good(CHAT, chat).json, dict)
        answer = self.server.good(COMPLETIONS, {**GOOD, "prompt": secret, "max_tokens": 16}).json
        words = (secret, KEY, answer["choices"][0]["text"].strip())
        self.assertGreater(min(map(len, words)), 10)
        for body in (
            {secret: secret, "stop": [secret] * 100},
            {"prompt": secret * 1000},
            {"prompt": [secret, 1]},
            {"max_tokens": secret},
            {"structured_outputs": {"regex": secret + "("}},
        ):
            told = self.refused(COMPLETIONS, {**GOOD, "prompt": secret, **body}).body.decode()
            self.assertFalse([word for word in words if word in told], told)
        ids = self.server.good(
            "/tokenize", {"messages": [{"role": "user", "content": "<|endoftext|>"}]}
        ).json
        self.assertNotIn(0, ids["tokens"])
        # Any bytes that a model makes are text in the answer.
        for i in range(8):
            body = {
                "prompt": [3],
                "max_tokens": 20,
                "temperature": 5,
                "seed": i,
                "logprobs": 5,
                "ignore_eos": True,
            }
            self.server.good(COMPLETIONS, body).body.decode("utf-8")
        told = self.server.log() + self.server.get("/metrics").body.decode()
        self.assertIn("prompt_tokens=", told)
        self.assertFalse([word for word in words if word in told], told)


if __name__ == "__main__":
    main()
