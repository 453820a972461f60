#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same seeded requests give the same texts, ids and log-probabilities, bit for bit: alone, among
others, on 1 to 4 ranks, with and without prefix caching, and when they are preempted."""

import random
import unittest

from serve_lib import DEMO, PROMPT, Server, eventually, main, together

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GATE = {"extra_policy": "random", "capacity": "ceil_k", "capacity_factor": 1.0,
        "group": "sequence_chunk", "group_size": 8, "priority": "token_major"}  # fmt: skip
LONG = [(i * i + 7) % 4096 for i in range(200)]


def completion(**fields):
    return COMPLETIONS, {
        "prompt": PROMPT,
        "max_tokens": 32,
        "logprobs": 3,
        "return_token_ids": True,
        **fields,
    }


REQUESTS = {
    "greedy": completion(temperature=0),
    "drawn": completion(temperature=1, seed=1),
    "top_p, top_k": completion(temperature=1.3, top_p=0.8, top_k=40, seed=2),
    "min_p": completion(temperature=0.9, min_p=0.05, seed=3),
    "penalties": completion(seed=4, presence_penalty=0.7, frequency_penalty=0.4, repetition_penalty=1.2),
    "three choices": completion(seed=5, n=3, temperature=1),
    "a stop string": completion(seed=6, stop=[" the", ", and"], max_tokens=48),
    "a long prompt with scores": completion(prompt=LONG, seed=7, prompt_logprobs=2),
    "echo": completion(prompt=LONG[:90], seed=8, echo=True),
    "several prompts": completion(prompt=[LONG[:20], LONG[:90], [9]], seed=9, n=2, max_tokens=12),
    "bias": completion(seed=10, logit_bias={"300": 5, "301": -100}, min_tokens=5),
    "a gate with capacity": completion(seed=11, gate=GATE, n=2),
    "a long prompt, gate with capacity": completion(prompt=LONG, seed=12, gate=GATE, echo=True),
    "one expert": completion(seed=13, gate={"top_k": 1}),
    "a regular expression": completion(seed=14, structured_outputs={"regex": "([A-Z][a-z]{2,5} ){3}"}),
    "chat": (CHAT, {"messages": [{"role": "user", "content": "Who was David?"}], "seed": 15,
                    "max_tokens": 24, "logprobs": True, "top_logprobs": 2}),  # fmt: skip
    "embeddings": ("/v1/embeddings", {"input": [LONG[:20], LONG, [9]]}),
    "an embedding, gate with capacity": ("/v1/embeddings", {"input": LONG, "gate": GATE}),
    "scores": ("/score", {"text_1": PROMPT, "text_2": ["In the end", "Who was David?"]}),
}
EVERYWHERE = ["--allow-gate-override", "*", "--served-model-name", "m", "--pooling", "mean"]

# Ranks, flags. The pool of the third holds about two of the requests at once, and no prompt of it
# is read in one step.
SERVERS = {
    "2 ranks": (2, []),
    "3 ranks, tiny pool": (
        3,
        ["--kv-cache-blocks", "24", "--max-num-batched-tokens", "48", "--max-num-seqs", "24"],
    ),
    "4 ranks": (4, ["--prefill-chunk", "32"]),
    "1 rank": (1, []),
    "3 ranks, steps planned ahead": (3, ["--async-scheduling"]),
    "2 ranks, guesses of prompt look-up": (
        2,
        ["--speculative-tokens", "5", "--prompt-lookup-min", "1", "--async-scheduling"],
    ),
    "1 rank, guesses of a draft model": (1, ["--speculative-model", DEMO, "--kv-cache-blocks", "40"]),
}


def answer(server, path, body):
    """What must not differ."""
    reply = server.good(path, body).exact
    for name in ("id", "created"):
        del reply[name]
    del reply["usage"]["prompt_tokens_details"]  # how much was cached
    reply["usage"].pop("completion_tokens_details", None)  # how much was guessed
    return reply


def differences(where, have, wanted):
    """One line per value that differs."""
    if isinstance(wanted, dict) and isinstance(have, dict) and have.keys() == wanted.keys():
        return [d for k in wanted for d in differences(f"{where}.{k}", have[k], wanted[k])]
    if isinstance(wanted, list) and isinstance(have, list) and len(have) == len(wanted):
        return [d for k, w in enumerate(wanted) for d in differences(f"{where}[{k}]", have[k], w)]
    return [] if have == wanted else [f"{where}: {have!r}, expected {wanted!r}"]


class SameBitsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Server("--no-enable-prefix-caching", *EVERYWHERE, ranks=0) as server:
            cls.expected = {name: answer(server, *request) for name, request in REQUESTS.items()}

    def compare(self, what, name, have):
        found = differences("", have, self.expected[name])
        self.assertEqual(found[:5], [], f"{name}, {what}: {len(found)} values differ")

    def test_the_reference_says_something(self):
        texts = [c.get("text") for e in self.expected.values() for c in e.get("choices", [])
                 if "text" in c]  # fmt: skip
        self.assertGreater(len(set(texts)), 15)
        drops = self.expected["a long prompt, gate with capacity"]["usage"].get("moe", {})
        self.assertTrue(drops.get("overflow") or drops.get("rejected"), drops)

    def test_everywhere(self):
        for where, (ranks, flags) in SERVERS.items():
            with self.subTest(where), Server(*EVERYWHERE, *flags, ranks=ranks) as server:
                for name, request in REQUESTS.items():
                    with self.subTest(f"{name} alone"):
                        self.compare(f"alone on {where}", name, answer(server, *request))
                self.crowd(server, where)
                self.assertEqual(server.wait_idle(), (0, 0, 0))
                if "tiny" in where:
                    self.assertGreater(server.metric("vllm:num_preemptions_total"), 0)
                self.assertGreater(server.metric("vllm:prefix_cache_hits_total"), 0)
                if "guesses" in where:
                    accepted = server.metric("vllm:spec_decode_num_accepted_tokens_total")
                    self.assertGreater(accepted, 10)
                    self.assertGreater(server.metric("vllm:spec_decode_num_draft_tokens_total"), accepted)
                    usage = server.good(*completion(prompt="the the the the the", temperature=0)).exact["usage"]
                    self.assertIn("accepted_prediction_tokens", usage["completion_tokens_details"])

    def crowd(self, server, where):
        """Everything twice at the same time, in another order, among requests that vanish."""
        names = list(REQUESTS) * 2
        random.Random(7).shuffle(names)
        vanishing = [
            server.stream(COMPLETIONS, {"prompt": LONG[: 20 + i], "max_tokens": 300, "seed": i})
            for i in range(4)
        ]
        results = together([lambda n=n: answer(server, *REQUESTS[n]) for n in names[:19]])
        for stream in vanishing[:2]:
            stream.close()
        results += together([lambda n=n: answer(server, *REQUESTS[n]) for n in names[19:]])
        for stream in vanishing[2:]:
            stream.close()
        for name, have in zip(names, results):
            with self.subTest(f"{name} among others"):
                self.compare(f"among others on {where}", name, have)
        self.assertTrue(eventually(lambda: server.activity() == (0, 0, 0)))


if __name__ == "__main__":
    main()
