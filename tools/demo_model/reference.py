#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/demo-kjv-reference.json: what Transformers computes with the demo model.

For each prompt, in float32 arithmetic on the stored bfloat16 weights, eager attention and the
deterministic dropless top-2 gate: token ids; the log-probability of every token given those before
it (null first) and the five best continuations at every position; the experts chosen in every
layer, best first, and their weights; and a greedy continuation, which end-of-text does not stop.
The two margins say how far the closest decision was from going the other way, so a reader can tell
a wrong result from a tie: margin_expert is the least difference between the router logits of ranks
1, 2 and 3, and margin_greedy that of the log-probabilities of the two best tokens along the
continuation.

    python reference.py --model models/demo-kjv --output tests/data/demo-kjv-reference.json
"""

import argparse
import hashlib
import json
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = (
    "In the beginning God created the heaven and the earth.",
    "And it came to pass in those days, that the king of Babylon said unto his servants, "
    "Go ye up against the city, and",
    "The LORD is my shepherd; 7 naïve café-owners wrote <html> & \"quoted\" it,\n\n"
    "  twice: 羊飼い!",
)
BEST = 5


def rounded(values):
    """Floats with nine digits, which give back the same float32."""
    return [float(f"{value:.9g}") for value in values]


@torch.no_grad()
def describe(model, tokenizer, prompt, new_tokens):
    traces = [[] for _ in model.model.layers]
    hooks = [
        layer.mlp.gate.register_forward_hook(
            lambda module, inputs, output, trace=trace: trace.append(output))
        for layer, trace in zip(model.model.layers, traces)
    ]
    ids = tokenizer(prompt).input_ids
    logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    logprobs = torch.log_softmax(logits.float(), -1)
    taken = logprobs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    best = logprobs.topk(BEST, -1)

    layers, margin_expert = [], float("inf")
    for ((router_logits, weights, experts),) in traces:
        ranked = router_logits.topk(3, -1).values
        margin_expert = min(margin_expert, (ranked[:, :-1] - ranked[:, 1:]).min().item())
        layers.append({"experts": experts.tolist(),
                       "weights": [rounded(row) for row in weights.tolist()]})

    greedy, margin_greedy = list(ids), float("inf")
    for _ in range(new_tokens):
        last = torch.log_softmax(model(torch.tensor([greedy]), use_cache=False).logits[0, -1], -1)
        top = last.topk(2)
        margin_greedy = min(margin_greedy, (top.values[0] - top.values[1]).item())
        greedy.append(int(top.indices[0]))
    continuation = greedy[len(ids):]
    return {
        "prompt": prompt,
        "token_ids": ids,
        "logprobs": [None] + rounded(taken.tolist()),
        "top_ids": best.indices.tolist(),
        "top_logprobs": [rounded(row) for row in best.values.tolist()],
        "layers": layers,
        "margin_expert": margin_expert,
        "greedy_ids": continuation,
        "greedy_text": tokenizer.decode(continuation),
        "margin_greedy": margin_greedy,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--new-tokens", type=int, default=32)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation="eager").eval()
    weights = (args.model / "model.safetensors").read_bytes()
    header = {
        "made_by": "tools/demo_model/reference.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "model_sha256": hashlib.sha256(weights).hexdigest(),
    }
    prompts = [describe(model, tokenizer, p, args.new_tokens) for p in PROMPTS]
    prompts = ",\n".join(json.dumps(p, ensure_ascii=False, separators=(",", ":")) for p in prompts)
    text = json.dumps(header, indent=1)[:-2] + ',\n "prompts": [\n' + prompts + "\n]}\n"
    result = json.loads(text)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text, encoding="utf-8")
    for item in result["prompts"]:
        print(f"{len(item['token_ids'])} ids, margins {item['margin_expert']:.2g} "
              f"{item['margin_greedy']:.2g}: {item['greedy_text']!r}")


if __name__ == "__main__":
    main()
