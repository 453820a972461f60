#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The OpenAI API (and SGLang's /generate) of a live server: shapes, streams, stops, scores."""

import base64
import json
import math
import os
import re
import struct
import subprocess
import tempfile

from serve_lib import CONTEXT, DEMO, FOLKMOOT, PROMPT, ServeTest, main, mpi_environment, together

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GREEDY = {"prompt": PROMPT, "temperature": 0, "max_tokens": 24}
DRAWN = {"prompt": PROMPT, "temperature": 1, "top_p": 0.95, "seed": 11, "max_tokens": 24}
MESSAGES = [{"role": "user", "content": "Who was David?"}]


def join_completion(events):
    """{index: what the non-streaming answer holds of this choice}"""
    choices = {}
    for event in events:
        for part in event["choices"]:
            whole = choices.setdefault(part["index"], {"text": "", "ids": [], "logprobs": {}})
            if whole.get("finish_reason"):
                raise AssertionError(f"an event after the end of a choice: {event}")
            whole["text"] += part["text"]
            whole["ids"] += part.get("token_ids") or []
            for key, values in (part["logprobs"] or {}).items():
                whole["logprobs"].setdefault(key, []).extend(values)
            whole["finish_reason"], whole["stop_reason"] = (
                part["finish_reason"],
                part["stop_reason"],
            )
    return choices


class ApiTest(ServeTest):
    ranks = 3
    flags = (
        "--served-model-name",
        "kjv",
        "second-name",
        "--allow-gate-override",
        "capacity_factor,capacity",
    )

    def complete(self, **body):
        return self.server.good(COMPLETIONS, body).exact

    def text(self, **body):
        return self.complete(**body)["choices"][0]["text"]

    def test_completion_shape(self):
        reply = self.server.good(COMPLETIONS, GREEDY, headers={"X-Request-Id": "abc-1"})
        body = reply.json
        self.assertRegex(body["id"], r"^cmpl-")
        self.assertEqual(reply.headers["X-Request-Id"], "abc-1")
        self.assertEqual(body["object"], "text_completion")
        self.assertEqual(body["model"], "kjv")
        self.assertIsInstance(body["created"], int)
        choice = body["choices"][0]
        self.assertEqual((choice["index"], choice["finish_reason"]), (0, "length"))
        self.assertIsNone(choice["logprobs"])
        usage = body["usage"]
        self.assertEqual(usage["completion_tokens"], 24)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 24)
        self.assertIn("cached_tokens", usage["prompt_tokens_details"])

    def test_chat_shape(self):
        body = {
            "messages": MESSAGES,
            "max_tokens": 8,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 2,
        }
        answer = self.server.good(CHAT, body).json
        self.assertRegex(answer["id"], r"^chatcmpl-")
        self.assertEqual(answer["object"], "chat.completion")
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertIsInstance(choice["message"]["content"], str)
        self.assertEqual(len(choice["logprobs"]["content"]), 8)
        for token in choice["logprobs"]["content"]:
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertEqual(token["logprob"], token["top_logprobs"][0]["logprob"])
        parts = [{"role": "user", "content": [{"type": "text", "text": "Who was David?"}]}]
        same = self.server.good(CHAT, {**body, "messages": parts}).json
        self.assertEqual(same["choices"], answer["choices"])

    def test_forms_of_a_prompt(self):
        ids = self.server.good("/tokenize", {"prompt": PROMPT}).json["tokens"]
        alone = self.text(**GREEDY)
        self.assertEqual(self.text(**{**GREEDY, "prompt": ids}), alone)
        for prompts in ([PROMPT, "In the beginning"], [ids, [5, 6, 7]]):
            choices = self.complete(**{**GREEDY, "prompt": prompts, "n": 2})["choices"]
            self.assertEqual([c["index"] for c in choices], [0, 1, 2, 3])
            self.assertEqual([c["text"] for c in choices[:2]], [alone, alone])
            other = self.text(**{**GREEDY, "prompt": prompts[1]})
            self.assertEqual([c["text"] for c in choices[2:]], [other, other])

    def test_a_stream_is_the_whole_in_parts(self):
        more = {
            "n": 3,
            "logprobs": 3,
            "echo": True,
            "return_token_ids": True,
            "stop": ["the", "xq"],
        }
        for body in (GREEDY, DRAWN, {**DRAWN, **more}, {**DRAWN, "stop": [" and", ","], "seed": 5}):
            whole = self.complete(**body)
            events = self.server.events(
                COMPLETIONS, {**body, "stream_options": {"include_usage": True}}
            )
            parts = join_completion(events)
            self.assertEqual(len(parts), len(whole["choices"]))
            for choice in whole["choices"]:
                part = parts[choice["index"]]
                self.assertEqual(part["text"], choice["text"])
                self.assertEqual(part["finish_reason"], choice["finish_reason"])
                self.assertEqual(part["stop_reason"], choice["stop_reason"])
                self.assertEqual(part["logprobs"], choice["logprobs"] or {})
                self.assertEqual(part["ids"], choice.get("token_ids", []))
            self.assertEqual(events[-1]["choices"], [])
            for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
                self.assertEqual(events[-1]["usage"][key], whole["usage"][key])
            self.assertTrue(all(event["usage"] is None for event in events[:-1]))
            self.assertEqual(len({event["id"] for event in events}), 1)

    def test_chat_stream(self):
        body = {"messages": MESSAGES, "max_tokens": 12, "seed": 3, "n": 2}
        whole = self.server.good(CHAT, body).json
        options = {"include_usage": True, "continuous_usage_stats": True}
        events = self.server.events(CHAT, {**body, "stream_options": options})
        text, finish = ["", ""], [None, None]
        for event in events[:-1]:
            self.assertEqual(event["object"], "chat.completion.chunk")
            part = event["choices"][0]
            if not text[part["index"]] and "role" in part["delta"]:
                self.assertEqual(part["delta"]["role"], "assistant")
            text[part["index"]] += part["delta"].get("content", "")
            finish[part["index"]] = part["finish_reason"]
            self.assertGreater(event["usage"]["prompt_tokens"], 0)
        self.assertEqual(text, [c["message"]["content"] for c in whole["choices"]])
        self.assertEqual(finish, [c["finish_reason"] for c in whole["choices"]])
        self.assertEqual(
            events[-1]["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]
        )

    def test_stop_strings_across_tokens(self):
        whole = self.complete(**{**DRAWN, "max_tokens": 40, "logprobs": 0})["choices"][0]
        text, borders = whole["text"], whole["logprobs"]["text_offset"]
        for border in borders[5:35:5]:
            stop = text[border - 2 : border + 3]
            expected = text[: text.find(stop)]
            body = {**DRAWN, "max_tokens": 40, "stop": stop}
            choice = self.complete(**body)["choices"][0]
            self.assertEqual(choice["text"], expected)
            self.assertEqual((choice["finish_reason"], choice["stop_reason"]), ("stop", stop))
            self.assertEqual(
                join_completion(self.server.events(COMPLETIONS, body))[0]["text"], expected
            )
            kept = self.text(**body, include_stop_str_in_output=True)
            self.assertEqual(kept, expected + stop)

    def test_ends(self):
        ids = self.complete(**GREEDY, return_token_ids=True)["choices"][0]["token_ids"]
        choice = self.complete(**GREEDY, stop_token_ids=[ids[4]], return_token_ids=True)["choices"][
            0
        ]
        self.assertEqual(choice["stop_reason"], ids[4])
        self.assertEqual(choice["token_ids"], ids[: ids.index(ids[4]) + 1])
        eos = {"logit_bias": {"0": 100}, "prompt": PROMPT, "temperature": 0, "max_tokens": 6}
        ended = self.complete(**eos)
        self.assertEqual(
            (ended["choices"][0]["text"], ended["choices"][0]["finish_reason"]), ("", "stop")
        )
        self.assertEqual(self.complete(**eos, ignore_eos=True)["usage"]["completion_tokens"], 6)
        self.assertEqual(self.complete(**eos, min_tokens=4)["usage"]["completion_tokens"], 5)

    def test_log_probabilities(self):
        body = {
            **DRAWN,
            "logprobs": 4,
            "echo": True,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
        answer = self.complete(**body)
        choice, lists = answer["choices"][0], answer["choices"][0]["logprobs"]
        self.assertTrue(choice["text"].startswith(PROMPT))
        ids = choice["prompt_token_ids"] + choice["token_ids"]
        self.assertEqual(lists["tokens"], [f"token_id:{i}" for i in ids])
        self.assertEqual((lists["token_logprobs"][0], lists["top_logprobs"][0]), (None, None))
        for name, value, top in list(
            zip(lists["tokens"], lists["token_logprobs"], lists["top_logprobs"])
        )[1:]:
            self.assertEqual(top[name], value)
            self.assertIn(len(top), (4, 5))
            self.assertLessEqual(float(value), 0)
        words = self.complete(**{**body, "return_tokens_as_token_ids": False})["choices"][0]
        for name, start in zip(words["logprobs"]["tokens"], words["logprobs"]["text_offset"]):
            self.assertEqual(words["text"][start : start + len(name)], name)

    def test_prompt_log_probabilities(self):
        answer = self.complete(
            **{**GREEDY, "max_tokens": 1, "prompt_logprobs": 2, "return_token_ids": True}
        )
        choice = answer["choices"][0]
        self.assertIsNone(choice["prompt_logprobs"][0])
        for token, entry in zip(choice["prompt_token_ids"][1:], choice["prompt_logprobs"][1:]):
            own = entry[str(token)]
            self.assertEqual(own["rank"] <= 2, len(entry) == 2)
            self.assertTrue(
                all(
                    o["rank"] != 1 or float(o["logprob"]) >= float(own["logprob"])
                    for o in entry.values()
                )
            )

    def test_scores_are_those_of_the_command(self):
        """What lm-eval asks for, against `folkmoot score`, digit for digit."""
        lines = [list(range(1, 40)), [7], [4095, 0, 17, 17], [(i * 37) % 4096 for i in range(300)]]
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "lines")
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"token_ids": ids}) + "\n" for ids in lines)
            done = subprocess.run(
                [FOLKMOOT, "score", DEMO, "--input", path, "--threads", "1"],
                env=mpi_environment(),
                check=True,
                capture_output=True,
            )
        expected = [
            json.loads(line, parse_float=float)["logprobs"] for line in done.stdout.splitlines()
        ]
        for max_tokens in (0, 1):
            for repeat in range(2):  # the second time the prompts are cached
                body = {"model": "kjv", "prompt": lines, "temperature": 0, "max_tokens": max_tokens,
                        "logprobs": 1, "seed": 1234, "echo": True}  # fmt: skip
                choices = self.server.good(COMPLETIONS, body).json["choices"]
                for choice, ids, wanted in zip(choices, lines, expected):
                    have = choice["logprobs"]["token_logprobs"]
                    self.assertEqual(len(have), len(ids) + max_tokens)
                    self.assertEqual(have[: len(ids)], wanted, f"max_tokens {max_tokens}, {repeat}")
                    for value, top in list(zip(have, choice["logprobs"]["top_logprobs"]))[1:]:
                        self.assertIn(value, top.values())

    def test_choices_draw_with_their_own_seed(self):
        choices = self.complete(**DRAWN, n=4)["choices"]
        for i, choice in enumerate(choices):
            self.assertEqual(choice["text"], self.text(**{**DRAWN, "seed": 11 + i}))
        self.assertGreater(len({c["text"] for c in choices}), 1)
        self.assertEqual(self.text(**{**DRAWN, "seed": -5}), self.text(**{**DRAWN, "seed": -5}))

    def test_which_tokens(self):
        allowed = self.complete(**DRAWN, allowed_token_ids=[300, 301], return_token_ids=True)
        self.assertLessEqual(set(allowed["choices"][0]["token_ids"]), {300, 301})
        self.assertNotEqual(self.text(**GREEDY, repetition_penalty=1.5), self.text(**GREEDY))
        self.assertEqual(self.text(**{**DRAWN, "top_k": 1}), self.text(**GREEDY))
        self.assertEqual(self.text(**{**DRAWN, "min_p": 1}), self.text(**GREEDY))
        self.assertIn(",", self.text(**GREEDY))
        self.assertNotIn(",", self.text(**GREEDY, bad_words=[","]))

    def test_structured_output(self):
        schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 99, "minimum": 0}},
                  "required": ["a"], "additionalProperties": False}  # fmt: skip
        more = {"max_tokens": 60, "seed": 2}
        for seed in range(3):
            more["seed"] = seed
            text = self.text(prompt="x", structured_outputs={"choice": ["yes", "no"]}, **more)
            self.assertIn(text, ("yes", "no"))
            text = self.text(prompt="x", structured_outputs={"regex": "[a-c]{4}[0-9]"}, **more)
            self.assertRegex(text, "^[a-c]{4}[0-9]$")
            form = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
            answer = self.server.good(
                CHAT, {"messages": MESSAGES, "response_format": form, **more}
            ).json
            self.assertIn(json.loads(answer["choices"][0]["message"]["content"])["a"], range(100))

    def test_names_and_information(self):
        models = self.server.get("/v1/models").json
        self.assertEqual([m["id"] for m in models["data"]], ["kjv", "second-name"])
        self.assertEqual(models["data"][0]["max_model_len"], CONTEXT)
        self.assertEqual(self.server.get("/v1/models/kjv").json["object"], "model")
        self.assertEqual(self.server.get("/v1/models/other").status, 404)
        self.complete(model="second-name", **GREEDY)
        for path in (
            "/health",
            "/ready",
            "/version",
            "/ping",
            "/load",
            "/server_info",
            "/moe/experts",
            "/",
        ):
            self.assertEqual(self.server.get(path).status, 200, path)
        self.assertEqual(self.server.get("/tokenizer_info").json["eos_token"], "<|endoftext|>")
        text = "Jesus wept. שלום \U0001f54a \n\t"
        tokens = self.server.good("/tokenize", {"prompt": text}).json
        self.assertEqual(tokens["count"], len(tokens["tokens"]))
        back = self.server.good("/detokenize", {"tokens": tokens["tokens"]}).json
        self.assertEqual(back["prompt"], text)

    def test_generate_of_sglang(self):
        sampling = {"temperature": 0, "max_new_tokens": 24, "ignore_eos": True}
        body = {
            "text": PROMPT,
            "sampling_params": sampling,
            "return_logprob": True,
            "logprob_start_len": 0,
        }
        answer = self.server.good("/generate", body).exact
        same = self.complete(**GREEDY, ignore_eos=True, logprobs=0, echo=True)["choices"][0]
        self.assertEqual(PROMPT + answer["text"], same["text"])
        meta = answer["meta_info"]
        self.assertEqual(meta["completion_tokens"], 24)
        scores = meta["input_token_logprobs"] + meta["output_token_logprobs"]
        self.assertEqual([s[0] for s in scores], same["logprobs"]["token_logprobs"])
        events = self.server.events("/generate", body)
        self.assertEqual(events[-1]["text"], answer["text"])
        self.assertEqual(events[-1]["output_ids"], answer["output_ids"])
        self.assertTrue(all(b["text"].startswith(a["text"]) for a, b in zip(events, events[1:])))

    def test_embeddings_and_scores(self):
        texts = ["And God said,", "And God saw", "the sons of Levi"]
        body = {"input": texts, "encoding_format": "base64"}
        reply = self.server.good("/v1/embeddings", body).json
        vectors = [struct.unpack("<192f", base64.b64decode(d["embedding"])) for d in reply["data"]]
        for vector in vectors:
            self.assertAlmostEqual(math.fsum(v * v for v in vector), 1, 5)
        plain = self.server.good("/v1/embeddings", {"input": texts[1]}).json["data"][0]
        self.assertEqual(struct.pack("<192f", *plain["embedding"]), struct.pack("<192f", *vectors[1]))
        scores = self.server.good("/score", {"text_1": texts[0], "text_2": texts[1:]}).json["data"]
        for score, vector in zip(scores, vectors[1:]):
            cosine = math.fsum(a * b for a, b in zip(vectors[0], vector))
            self.assertAlmostEqual(score["score"], cosine, 5)
        ranked = self.server.good("/rerank", {"query": texts[0], "documents": texts[1:]}).json
        best = max(scores, key=lambda score: score["score"])
        self.assertEqual(ranked["results"][0]["index"], best["index"])
        self.assertEqual(ranked["results"][0]["relevance_score"], best["score"])
        self.assertEqual(self.server.post("/v1/embeddings", {"input": ""}).status, 400)

    def test_gate_override(self):
        tight = {"prompt": list(range(1, 65)), "max_tokens": 4, "temperature": 0}
        dropped = self.complete(**tight, gate={"capacity": "ceil_k", "capacity_factor": 0.5})[
            "usage"
        ]["moe"]
        self.assertGreater(dropped["overflow"], 0)
        refused = self.server.post(COMPLETIONS, {**tight, "gate": {"top_k": 1}})
        self.assertEqual(refused.status, 400)
        self.assertIn("top_k", refused.error["message"])

    def test_experts_and_metrics_count(self):
        before = self.server.metrics()
        self.complete(**GREEDY)
        after = self.server.metrics()
        for name, grown in (
            ("vllm:generation_tokens_total", 24),
            ("vllm:request_success_total", 1),
        ):
            self.assertEqual(
                self.server.metric(name, after) - self.server.metric(name, before), grown
            )
        total = self.server.metric("moe:expert_tokens_total", after)
        self.assertGreater(total, self.server.metric("moe:expert_tokens_total", before))
        self.assertTrue(
            re.search(
                r"^vllm:time_to_first_token_seconds_bucket\{.*le=\"0.001\"",
                self.server.get("/metrics").body.decode(),
                re.MULTILINE,
            )
        )

    def test_connections_are_kept(self):
        line = json.dumps(GREEDY).encode()
        one = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
            len(line),
            line,
        )
        last = one.replace(b"Host: x", b"Host: x\r\nConnection: close")
        self.assertEqual(self.server.raw(one + one + last).count(b"HTTP/1.1 200 OK"), 3)

    def test_many_at_once(self):
        expected = self.text(**DRAWN)
        texts = together([lambda: self.text(**DRAWN)] * 24)
        self.assertEqual(set(texts), {expected})


if __name__ == "__main__":
    main()
