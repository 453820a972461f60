#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows on held-out text that the demo model's routed experts matter, and prints samples.

Bits per byte with both experts (dropless), with the classic gate it was trained with (mean over
seeds), with the best expert alone, with random experts, and with the shared expert only; the load
of every expert; and text sampled through Transformers with the model's generation_config.json.
Tables are Markdown, ready for the model card.

    python evaluate.py --model models/demo-kjv --corpus-dir corpus --prompt "In the beginning"
"""

import argparse
import json
import pathlib
import statistics

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from model import DemoModel, Gate, ModelConfig
from train import DROPLESS, HELD_OUT_WINDOW, held_out_bits_per_byte, load_stream


def load_model(path):
    """The model of a Hugging Face directory, in float32."""
    raw = json.loads((path / "config.json").read_text(encoding="utf-8"))
    names = ModelConfig.__dataclass_fields__
    model = DemoModel(ModelConfig(**{name: raw[name] for name in names if name in raw}))
    model.load_hf_state(load_file(str(path / "model.safetensors")))
    return model


def print_table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def print_bits_per_byte(model, stream, size, seeds):
    """Prints the comparison of gates; returns {"dropless": counts, "classic": counts}."""
    plan = (
        ("top-2, dropless", DROPLESS, 1),
        ("classic: random second, capacity 1.25", Gate("classic"), seeds),
        ("top-1", Gate("top1", chunk=HELD_OUT_WINDOW), 1),
        ("two random experts", Gate("random", chunk=HELD_OUT_WINDOW), seeds),
        ("shared expert only", Gate("none"), 1),
    )
    rows, counts = [], {}
    for name, gate, runs in plan:
        scores = []
        for seed in range(runs):
            torch.manual_seed(seed)
            score, stats = held_out_bits_per_byte(model, stream, size, gate)
            scores.append(score)
        counts[gate.policy] = stats
        spread = f" ± {statistics.stdev(scores):.4f}" if runs > 1 else ""
        rows.append((name, f"{statistics.mean(scores):.4f}{spread}", str(runs)))
    print_table(("gate", "held-out bits per byte", "runs"), rows)
    return counts


def print_load(counts):
    """The share of all assignments that each expert gets, per layer; then what the gate drops."""
    experts = counts["dropless"].shape[-1]
    rows = []
    for layer, stats in enumerate(counts["dropless"]):
        share = 100 * stats[0] / stats[0].sum()
        rows.append([str(layer)] + [f"{value:.1f}" for value in share.tolist()])
    print_table(["layer"] + [f"expert {e}, %" for e in range(experts)], rows)
    rows = []
    for layer, stats in enumerate(counts["classic"]):
        total = stats[0].sum()
        rows.append((str(layer), f"{100 * stats[2].sum() / total:.2f}",
                     f"{100 * stats[3].sum() / total:.2f}"))
    print_table(("layer", "rejected by the draw, % of assignments", "overflowed, %"), rows)


def print_samples(path, prompts, length, seed):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    for prompt in prompts:
        torch.manual_seed(seed)
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=length)
        print("> " + tokenizer.decode(out[0], skip_special_tokens=True) + "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--corpus-dir", type=pathlib.Path, help="where heldout.txt is")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompt", action="append", default=[], help="print a sample; repeatable")
    parser.add_argument("--length", type=int, default=160, help="new tokens of a sample")
    parser.add_argument("--sample-seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.corpus_dir:
        tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
        end_id = tokenizer.token_to_id("<|endoftext|>")
        stream, size = load_stream(tokenizer, args.corpus_dir / "heldout.txt", end_id)
        counts = print_bits_per_byte(load_model(args.model), stream, size, args.seeds)
        print_load(counts)
    if args.prompt:
        print_samples(str(args.model), args.prompt, args.length, args.sample_seed)


if __name__ == "__main__":
    main()
