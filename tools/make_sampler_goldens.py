#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/sampler.json: what the logits processors of Hugging Face Transformers leave of
random logits. Frequency and presence penalties, which Transformers does not have, are vLLM's
formula (vllm/model_executor/layers/utils.py, apply_penalties).

    python3 tools/make_sampler_goldens.py        (needs torch and transformers)
"""

import json
import pathlib
import random

import torch
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB = 80
OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "sampler.json"


def vllm_penalties(scores, output, frequency, presence):
    counts = torch.bincount(torch.tensor(output, dtype=torch.long), minlength=VOCAB)[:VOCAB]
    scores = scores - frequency * counts.unsqueeze(0)
    return scores - presence * (counts > 0).unsqueeze(0)


def make_case(rng):
    case = {
        "logits": [round(rng.gauss(0, 2.5), 4) for _ in range(VOCAB)],
        "prompt": [rng.randrange(VOCAB) for _ in range(rng.randrange(1, 12))],
        "output": [rng.randrange(VOCAB) for _ in range(rng.randrange(0, 12))],
        "temperature": rng.choice([0.3, 0.7, 1.0, 1.6]),
    }
    maybe = lambda name, value: case.update({name: value}) if rng.random() < 0.4 else None
    maybe("top_k", rng.choice([1, 2, 5, 20, 79]))
    maybe("top_p", rng.choice([0.05, 0.3, 0.7, 0.9, 0.99]))
    maybe("min_p", rng.choice([0.01, 0.1, 0.5]))
    maybe("repetition_penalty", rng.choice([0.8, 1.1, 1.5]))
    maybe("frequency_penalty", rng.choice([-0.5, 0.3, 1.2]))
    maybe("presence_penalty", rng.choice([-0.4, 0.6, 1.5]))
    maybe("logit_bias", [[t, rng.choice([-3.0, 0.5, 4.0])] for t in sorted(rng.sample(range(VOCAB), 5))])
    maybe("min_tokens", rng.randrange(0, 12))
    case["suppressed_ids"] = sorted(rng.sample(range(VOCAB), 3))
    if rng.random() < 0.5:
        words = [[rng.randrange(VOCAB)], [rng.randrange(VOCAB), rng.randrange(VOCAB)]]
        if len(case["output"]) >= 2:  # words that the output has begun
            words.append(case["output"][-1:] + [rng.randrange(VOCAB)])
            words.append(case["output"][-2:] + [rng.randrange(VOCAB)])
        case["bad_words"] = words
    return case


def expected(case):
    prompt, output = case["prompt"], case["output"]
    ids = torch.tensor([prompt + output])
    scores = torch.tensor([case["logits"]], dtype=torch.float64)
    if "bad_words" in case:
        # vLLM looks for the beginning of a word in the output only.
        words = [w for w in case["bad_words"] if len(w) <= len(output) + 1]
        past = torch.tensor([output], dtype=torch.long)
        if words:
            scores = NoBadWordsLogitsProcessor(words)(past, scores)
    if "min_tokens" in case:
        scores = MinNewTokensLengthLogitsProcessor(
            len(prompt), case["min_tokens"], case["suppressed_ids"]
        )(ids, scores)
    if "logit_bias" in case:
        bias = {(token,): value for token, value in case["logit_bias"]}
        scores = SequenceBiasLogitsProcessor(bias)(ids, scores)
    if "repetition_penalty" in case:
        scores = RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])(ids, scores)
    scores = vllm_penalties(
        scores, output, case.get("frequency_penalty", 0.0), case.get("presence_penalty", 0.0)
    )
    case["greedy"] = int(scores[0].argmax())
    scores = TemperatureLogitsWarper(case["temperature"])(ids, scores)
    if "top_k" in case:
        scores = TopKLogitsWarper(case["top_k"])(ids, scores)
    if "top_p" in case:
        scores = TopPLogitsWarper(case["top_p"])(ids, scores)
    if "min_p" in case:
        scores = MinPLogitsWarper(case["min_p"])(ids, scores)
    return [float(f"{p:.7g}") for p in scores.softmax(-1)[0].tolist()]


def main():
    rng = random.Random(3)
    cases = []
    for _ in range(150):
        case = make_case(rng)
        case["probabilities"] = {
            str(t): p for t, p in enumerate(expected(case)) if p > 0
        }
        cases.append(case)
    OUT.write_text(json.dumps({"vocab": VOCAB, "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
