# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/goldens: tiny random checkpoints and what Transformers computes with them.

    python tools/make_goldens.py --out tests/data/goldens [--only qwen3_moe-v5]

Needs torch and transformers >= 5. The README beside the data describes the files and the semantics.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from goldens import checkpoint, reference, seq2seq
from goldens.families import FAMILIES
from goldens.family import is_of_text
from goldens.variants import VARIANTS
from goldens.variants_seq2seq import SEQ2SEQ_VARIANTS

CONTINUATION = 24
FIRST_SEED = 20240601
MAX_SEEDS = 20
GREEDY_TRIES = 60
MATTERS = 1e-3  # a listed config change must move some log-probability by more than this


def number(value):
    """Nine significant digits: enough to name one float32."""
    return float(f"{float(value):.9g}")


def rope_record(model):
    rope = FAMILIES[model.config.model_type].rope(model)
    return rope and {"inv_freq": [number(value) for value in rope[0]],
                     "attention_scaling": number(rope[1])}


def prompt_record(model, token_ids):
    log_probabilities, logits, trace = reference.forward(model, token_ids)
    chosen = log_probabilities[torch.arange(len(token_ids) - 1), token_ids[1:]]
    best = log_probabilities[-1].topk(5)
    router = []
    for layer in trace.layers:
        choices = trace.choices(layer)
        rows = [[number(value) for value in row] for row in choices.weights]
        router.append({"layer": layer, "experts": choices.ids.tolist(), "weights": rows})
    record = {
        "token_ids": token_ids,
        "logprobs": [None] + [number(value) for value in chosen],
        "top1": log_probabilities.argmax(-1).tolist(),
        "last_logits_top5": [[int(i), number(v)] for v, i in zip(best.values, best.indices)],
        "rope": rope_record(model),
        "router": router,
    }
    router_gap = float(trace.gaps().min()) if trace.layers else None
    argmax_gap = float(reference.argmax_gaps(log_probabilities).min())
    return record, router_gap, argmax_gap, float(logits.std())


def greedy_record(model, length, generator):
    """A greedy continuation in which every decision is clear, checked in three independent ways."""
    for _ in range(GREEDY_TRIES):
        prompt = reference.clear_prompt(model, length, generator)
        ids, logits, router_gap, argmax_gap = reference.greedy_cached(model, prompt, CONTINUATION)
        again, again_gap = reference.greedy_recomputed(model, prompt, CONTINUATION)
        gaps = [argmax_gap, again_gap] + ([router_gap] if router_gap is not None else [])
        if min(gaps) > reference.MIN_GAP and len(set(ids)) > 6:
            break
    else:
        raise RuntimeError("no clear greedy continuation")
    if reference.generate(model, prompt, CONTINUATION) != ids:
        raise RuntimeError("generate() and the cached loop disagree")
    if not reference.depends_on_prompt(model) and again != ids:
        raise RuntimeError("cached and uncached greedy decoding disagree")
    ruled = reference.forward_with_length_rule(model, prompt + ids[:-1], length)[length - 1:]
    error = float((ruled - logits).abs().max())
    if error > 1e-4:
        raise RuntimeError(f"the length rule of the README is wrong: logits differ by {error}")
    record = {"prompt": prompt, "continuation": ids, "continuation_recomputed": again}
    return record, router_gap, min(argmax_gap, again_gap)


def logprobs_of(model, prompts):
    rows = []
    for token_ids in prompts:
        table = reference.forward(model, token_ids)[0]
        rows.append(table[torch.arange(len(token_ids) - 1), token_ids[1:]])
    return torch.cat(rows)


def sensitivity(directory, variant, prompts, base):
    """How far each listed change of config.json moves a log-probability; too little is an error."""
    result = []
    for changes in variant.matters:
        moved = logprobs_of(reference.load_with_other_config(directory, changes), prompts)
        distance = float((moved - base).abs().max())
        if distance <= MATTERS:
            raise RuntimeError(f"{variant.name}: {changes} moves nothing ({distance})")
        result.append({"changes": changes, "worst_difference": number(distance)})
    return result


def check_layout(directory, variant, weights):
    """The model that was read from the files holds exactly the numbers that were drawn."""
    model = reference.load_model(directory)
    for name, tensor in model.state_dict().items():
        if not is_of_text(name):
            continue
        tied = model.get_input_embeddings().weight  # where the head is not in the files
        if not torch.equal(tensor, weights.get(name, tied)):
            raise RuntimeError(f"{variant.name}: {name} changed on its way through the files")
    return model


def build(variant, directory, seed):
    config = checkpoint.config_of(variant)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    weights = checkpoint.random_weights(skeleton.state_dict(), config, seed)
    checkpoint.write_checkpoint(variant, weights, directory)
    model = check_layout(directory, variant, weights)

    generator = torch.Generator().manual_seed(seed)
    prompts = [reference.clear_prompt(model, length, generator) for length in variant.prompts]
    runs = [prompt_record(model, ids) for ids in prompts]
    records, router_gaps, argmax_gaps, spreads = zip(*runs)
    greedy, router_gap, argmax_gap = greedy_record(model, variant.greedy_prompt, generator)
    router_gaps = [gap for gap in (*router_gaps, router_gap) if gap is not None]
    base = logprobs_of(model, prompts)
    low = logprobs_of(reference.load_model(directory, torch.bfloat16), prompts)
    return {
        "description": variant.description,
        "transformers": transformers.__version__,
        "seed": seed,
        "dtype_on_disk": variant.dtype,
        "expert_layout": ("packed" if variant.packed else "per_expert") if router_gaps else "none",
        "sharded": bool(variant.shard_bytes),
        "logits_std": number(spreads[-1]),
        "min_router_gap": number(min(router_gaps)) if router_gaps else None,
        "min_argmax_gap": number(min((*argmax_gaps, argmax_gap))),
        "bf16_reference_error": number((low - base).abs().max()),
        "bf16_reference_mean_error": number((low - base).abs().mean()),
        "sensitivity": sensitivity(directory, variant, prompts, base),
        "greedy": greedy,
        "prompts": list(records),
    }


def write_golden(golden, path):
    """One line per top-level value and per prompt: small files with readable differences."""
    def compact(value):
        return json.dumps(value, separators=(",", ":"))
    lines = [f'"{key}":{compact(value)}' for key, value in golden.items() if key != "prompts"]
    prompts = ",\n ".join(compact(prompt) for prompt in golden["prompts"])
    path.write_text("{\n" + ",\n".join(lines) + f',\n"prompts":[\n {prompts}\n]\n}}\n')


def first_that_works(name, attempt, first_seed=FIRST_SEED):
    """The result of attempt(seed) for the first seed whose decisions are all clear ones."""
    for seed in range(first_seed, first_seed + MAX_SEEDS):
        try:
            return attempt(seed)
        except RuntimeError as error:
            print(f"{name}: seed {seed}: {error}", flush=True)
    raise SystemExit(f"{name}: no seed works")


def make_seq2seq(variant, directory):
    start = time.monotonic()
    golden = first_that_works(variant.name, lambda seed: seq2seq.build(variant, directory, seed))
    write_golden(golden, directory / "golden.json")
    size = sum(file.stat().st_size for file in directory.iterdir())
    changed = ", ".join(f"{s['worst_difference']:.3g}" for s in golden["sensitivity"])
    print(f"{variant.name}: {size // 1024} KiB, Transformers itself is "
          f"{golden['transformers_difference']:.3g} away, bf16 error "
          f"{golden['bf16_reference_error']:.3g}, sensitivity {changed}, "
          f"{time.monotonic() - start:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="the name of one variant")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for variant in SEQ2SEQ_VARIANTS:
        if arguments.only in (None, variant.name):
            make_seq2seq(variant, arguments.out / variant.name)
    for variant in VARIANTS:
        if arguments.only not in (None, variant.name):
            continue
        start = time.monotonic()
        directory = arguments.out / variant.name
        golden = first_that_works(variant.name, lambda seed: build(variant, directory, seed))
        write_golden(golden, directory / "golden.json")
        size = sum(file.stat().st_size for file in directory.iterdir())
        changed = ", ".join(f"{s['worst_difference']:.3g}" for s in golden["sensitivity"])
        print(f"{variant.name}: {size // 1024} KiB, logits std {golden['logits_std']:.2f}, gaps "
              f"{golden['min_router_gap']} {golden['min_argmax_gap']}, bf16 error "
              f"{golden['bf16_reference_error']:.3g}, sensitivity {changed}, "
              f"{time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
