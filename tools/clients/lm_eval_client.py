#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lm-eval's local-completions against a running server, its log-likelihoods against `folkmoot score`:

    lm_eval_client.py URL FOLKMOOT_BINARY MODEL_DIRECTORY SERVED_NAME

The task is made here, so nothing is fetched. Needs `lm-eval[api]` and `transformers`.
"""

import json
import os
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import lm_eval
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

URL, FOLKMOOT, MODEL, NAME = sys.argv[1:5]
QUESTIONS = [
    (
        "In the beginning God created the",
        [" heaven and the earth.", " horse and the cart.", " xyzzy plugh."],
        0,
    ),
    ("And the LORD said unto", [" Moses, Speak unto the children", " the bicycle of the moon"], 0),
    (
        "The LORD is my shepherd; I shall not",
        [" want.", " bicycle.", " go out of the house of the king."],
        0,
    ),
    ("And it came to pass in those days, that", [" there went out a decree", " zqx"], 0),
]
TASK = """task: kjv_tiny
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
target_delimiter: ""
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
---
"""
GENERATE = """task: kjv_generate
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: [".", ";"], max_gen_toks: 24, temperature: 0}}
metric_list: [{{metric: exact_match}}]
"""


def scores_of(work, pairs):
    """Sum of the log-probabilities of each continuation, from the command line."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    path, sizes = os.path.join(work, "lines.jsonl"), []
    with open(path, "w", encoding="utf-8") as file:
        for context, continuation in pairs:
            # lm-eval encodes context + continuation, and the context alone to know where to cut.
            whole, start = tokenizer.encode(context + continuation), tokenizer.encode(context)
            sizes.append(len(start))
            file.write(json.dumps({"token_ids": whole}) + "\n")
    done = subprocess.run(
        [FOLKMOOT, "score", MODEL, "--input", path], check=True, capture_output=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [sum(line["logprobs"][size:]) for line, size in zip(lines, sizes)]


def main():
    with tempfile.TemporaryDirectory() as work:
        data = os.path.join(work, "kjv.jsonl")
        with open(data, "w", encoding="utf-8") as file:
            for question, choices, answer in QUESTIONS:
                file.write(
                    json.dumps({"question": question, "choices": choices, "answer": answer}) + "\n"
                )
        for name, text in (("task", TASK.replace("---\n", "")), ("generate", GENERATE)):
            with open(os.path.join(work, name + ".yaml"), "w", encoding="utf-8") as file:
                file.write(text.format(data=data))
        arguments = {"model": NAME, "base_url": URL + "/v1/completions", "num_concurrent": 4}
        for tokenizer in (
            {"tokenizer_backend": "huggingface", "tokenizer": MODEL},
            {"tokenizer_backend": "remote"},
        ):
            result = lm_eval.simple_evaluate(
                model="local-completions", model_args={**arguments, **tokenizer}, batch_size=3,
                tasks=["kjv_tiny", "kjv_generate"], log_samples=True,
                task_manager=TaskManager(include_path=work, include_defaults=False),
            )  # fmt: skip
            samples = result["samples"]["kjv_tiny"]
            have = [r[0][0] for s in samples for r in s["resps"]]
            pairs = [(q, c) for q, choices, _ in QUESTIONS for c in choices]
            wanted = scores_of(work, pairs)
            worst = max(abs(a - b) for a, b in zip(have, wanted))
            for (question, choice), a, b in zip(pairs, have, wanted):
                print(f"{a:12.6f} {b:12.6f}  {question[-20:]!r} + {choice!r}")
            print(tokenizer["tokenizer_backend"], "accuracy", result["results"]["kjv_tiny"]["acc,none"],
                  "| generated", [s["filtered_resps"][0] for s in result["samples"]["kjv_generate"]][:2])  # fmt: skip
            # Sums of the same numbers; lm-eval adds them up as Python floats, too.
            print(f"largest difference to `folkmoot score`: {worst:.3g}")
            if worst > 1e-9:
                sys.exit("FAIL")
    print("ok")


if __name__ == "__main__":
    main()
