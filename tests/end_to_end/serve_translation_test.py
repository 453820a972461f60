#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model with an encoder behind the server, on one rank and on three: its answers are those that
Transformers gave for the golden, with beams and without, and what it cannot do is a 400 by name."""

import json
import os
import subprocess
import unittest

from serve_lib import FOLKMOOT, SOURCE, Server, main, together

MODEL = os.path.join(SOURCE, "tests", "data", "goldens", "nllb-moe-classic")


def golden():
    with open(os.path.join(MODEL, "golden.json"), encoding="utf-8") as file:
        return json.load(file)


def beam_body(search):
    return {
        "prompt": search["source"],
        "forced_bos_token_id": search["forced_bos"],
        "max_tokens": search["max_new_tokens"] - 1,
        "num_beams": search["num_beams"],
        "n": search.get("num_return_sequences", 1),
        "length_penalty": search.get("length_penalty", 1.0),
        "early_stopping": search.get("early_stopping", False),
        "return_token_ids": True,
    }


class TranslationTest(unittest.TestCase):
    def check(self, server):
        expected = golden()
        greedy = expected["greedy"]
        body = {"prompt": greedy["source"], "forced_bos_token_id": greedy["prompt"][1],
                "max_tokens": len(greedy["continuation"]), "temperature": 0,
                "return_token_ids": True}  # fmt: skip
        bodies = [body, *map(beam_body, expected["beams"])]
        wanted = [[greedy["continuation"]]]
        wanted += [[text[1:] for text in search["sequences"]] for search in expected["beams"]]
        answers = together([lambda b=b: server.good("/v1/completions", b) for b in bodies])
        for answer, texts in zip(answers, wanted):
            choices = sorted(answer.json["choices"], key=lambda choice: choice["index"])
            self.assertEqual([choice["token_ids"] for choice in choices], texts)
        streamed = server.events("/v1/completions", bodies[1])
        ids = [i for event in streamed for c in event["choices"] for i in c.get("token_ids") or []]
        self.assertEqual(ids, wanted[1][0])

    def check_errors(self, server):
        for fields, word in (
            ({"prompt": [5] * 64}, "max-num-batched-tokens"),
            ({"prompt": [5], "target_language": "fra_Latn"}, "target_language"),
            ({"prompt": [5], "prompt_logprobs": 1}, "has an encoder"),
            ({"prompt": [5], "num_beams": 2, "min_tokens": 2}, "min_tokens"),
        ):
            reply = server.post("/v1/completions", {"max_tokens": 4, **fields})
            self.assertEqual(reply.status, 400, reply.body)
            self.assertIn(word, reply.body.decode())
        reply = server.post("/v1/embeddings", {"input": [5, 6]})
        self.assertEqual(reply.status, 400, reply.body)

    def test_one_rank(self):
        with Server("--max-num-batched-tokens", "48", ranks=0, model=MODEL, template=False) as server:
            self.check(server)
            self.check_errors(server)

    def test_three_ranks(self):
        with Server(ranks=3, model=MODEL, template=False) as server:
            self.check(server)

    def test_generate(self):
        search = golden()["beams"][0]
        run = subprocess.run(
            [FOLKMOOT, "generate", MODEL, "--prompt-ids", ",".join(map(str, search["source"])),
             "--forced-bos-token-id", str(search["forced_bos"]), "--num-beams", "2",
             "--max-tokens", str(search["max_new_tokens"] - 1), "--json"],
            check=True, capture_output=True, text=True)  # fmt: skip
        self.assertEqual(json.loads(run.stdout)["token_ids"], search["sequences"][0][1:])


if __name__ == "__main__":
    main()
