# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/rope/rope_goldens.json: what Transformers' Llama computes for each rope type.

Every case is a config.json and, for some sequence lengths, the inverse frequencies, the attention
scaling, and cosines and sines at position 1 and at the last position.

    python tools/make_rope_goldens.py --out tests/data/rope/rope_goldens.json
"""

import argparse
import json

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


def case(name, lengths, rope, max_positions=64, head_dim=16, **top):
    return {
        "name": name,
        "lengths": lengths,
        "config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": 16,
            "hidden_size": 2 * head_dim,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": head_dim,
            "max_position_embeddings": max_positions,
            **({"rope_parameters": rope} if rope is not None else {}),
            **top,
        },
    }


YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.05, 1.1, 1.3, 1.5, 1.75, 2.0, 2.25],
    "long_factor": [1.0, 1.5, 3.0, 5.0, 8.5, 12.0, 20.0, 31.7],
}

CASES = [
    case("default", [64], {"rope_type": "default", "rope_theta": 10000.0}),
    case("default-absent", [64], None),
    case("default-old-style-theta", [7], None, rope_theta=1e6, rope_scaling=None),
    case("default-wide", [4000], {"rope_type": "default", "rope_theta": 150000.0}, 4096, 64),
    case("default-two", [9], {"rope_type": "default", "rope_theta": 10000.0}, head_dim=2),
    case("linear", [64], {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}),
    case("linear-old-type", [33], None, rope_theta=500.0,
         rope_scaling={"type": "linear", "factor": 3}),
    case("dynamic", [1, 64, 65, 200], {"rope_type": "dynamic", "rope_theta": 10000.0,
                                       "factor": 4.0}),
    case("dynamic-odd", [129], None, 100, 12, rope_theta=777.5,
         rope_scaling={"type": "dynamic", "factor": 1.3}),
    case("dynamic-ignores-original", [64, 100],
         {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0,
          "original_max_position_embeddings": 16}),
    case("yarn", [64], YARN | {"original_max_position_embeddings": 32}),
    case("yarn-original-from-max", [64], YARN),
    case("yarn-original-top-level", [64], YARN | {"original_max_position_embeddings": 8},
         original_max_position_embeddings=32),
    case("yarn-null-factor", [64], YARN | {"factor": None, "original_max_position_embeddings": 20}),
    case("yarn-betas", [64], YARN | {"beta_fast": 6, "beta_slow": 0.7,
                                     "original_max_position_embeddings": 48}),
    case("yarn-zero-betas", [64], YARN | {"beta_fast": 0, "beta_slow": 0,
                                          "original_max_position_embeddings": 4096}, 65536),
    case("yarn-no-truncate", [64], YARN | {"truncate": False, "beta_fast": 3,
                                           "original_max_position_embeddings": 64}),
    case("yarn-attention-factor", [64], YARN | {"attention_factor": 1.35,
                                                "original_max_position_embeddings": 32}),
    case("yarn-mscale", [64], YARN | {"mscale": 2.0, "mscale_all_dim": 0.5,
                                      "original_max_position_embeddings": 32}),
    case("yarn-mscale-zero", [64], YARN | {"mscale": 2.0, "mscale_all_dim": 0,
                                           "original_max_position_embeddings": 32}),
    case("yarn-mscale-alone", [64], YARN | {"mscale": 2.0, "original_max_position_embeddings": 32}),
    case("yarn-factor-one", [64], YARN | {"factor": 1.0, "original_max_position_embeddings": 64}),
    case("yarn-equal-bounds", [64], YARN | {"beta_fast": 2.0, "beta_slow": 2.0, "truncate": False,
                                            "original_max_position_embeddings": 64}),
    case("yarn-tiny-context", [64], YARN | {"original_max_position_embeddings": 4}),
    case("llama3", [100], {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                           "original_max_position_embeddings": 8192}, 131072, 64),
    case("llama3-odd", [100], {"rope_type": "llama3", "rope_theta": 300.0, "factor": 5.5,
                               "low_freq_factor": 1.5, "high_freq_factor": 9.0,
                               "original_max_position_embeddings": 77}, 200, 24),
    case("longrope", [1, 32, 33, 100], LONG | {"original_max_position_embeddings": 32}, 128),
    case("longrope-factor", [20, 60], LONG | {"factor": 7.0,
                                              "original_max_position_embeddings": 32}, 128),
    case("longrope-small-factor", [20], LONG | {"factor": 0.5,
                                                "original_max_position_embeddings": 32}, 128),
    case("longrope-attention-factor", [60], LONG | {"attention_factor": 1.19,
                                                    "original_max_position_embeddings": 32}, 128),
    case("longrope-top-level", [20, 60], LONG, 128, original_max_position_embeddings=48),
]


def digits(tensor):
    return [float(f"{x:.9g}") for x in tensor.flatten().tolist()]


def compute(entry):
    results = []
    for length in entry["lengths"]:
        # A fresh module each time: the reference keeps state between calls.
        config = LlamaConfig(**json.loads(json.dumps(entry["config"])))
        rope = LlamaRotaryEmbedding(config)
        cos, sin = rope(torch.zeros(1, 1, 1), torch.arange(length)[None])
        half = entry["config"]["head_dim"] // 2
        positions = sorted({min(1, length - 1), length - 1})
        results.append({
            "length": length,
            "inv_freq": digits(rope.inv_freq.float()),
            "attention_scaling": float(rope.attention_scaling),
            "positions": positions,
            "cos": [digits(cos[0, p, :half]) for p in positions],
            "sin": [digits(sin[0, p, :half]) for p in positions],
        })
    return {"name": entry["name"], "config": entry["config"], "results": results}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    out = parser.parse_args().out
    cases = ",\n".join(json.dumps(compute(entry)) for entry in CASES)
    with open(out, "w", encoding="utf-8") as file:
        file.write(f'{{"transformers": "{transformers.__version__}", "cases": [\n{cases}\n]}}\n')


if __name__ == "__main__":
    main()
