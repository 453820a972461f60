# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/config/config_goldens.json: what Transformers makes of a config.json.

Each case is a config.json (mostly with absent keys) and what the model has that Transformers builds
from it, read from the modules themselves and not from the configuration wherever a module shows it.

    python tools/make_config_goldens.py --out tests/data/config/config_goldens.json
"""

import argparse
import json

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 24}
SMALL_MOE = SMALL | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SLIDING = {"use_sliding_window": True, "sliding_window": 16}

CASES = [
    *({"model_type": name, **keys} for name in ("llama", "mistral", "qwen2", "qwen3")
      for keys in ({}, SMALL)),
    {"model_type": "mixtral"},
    {"model_type": "qwen2_moe"},
    {"model_type": "qwen3_moe"},
    {"model_type": "llama", **SMALL, "num_key_value_heads": None, "head_dim": None,
     "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    {"model_type": "mistral", **SMALL, "sliding_window": None},
    {"model_type": "mistral", **SMALL, "sliding_window": 8, "head_dim": 6},
    {"model_type": "mixtral", **SMALL, "num_local_experts": 5, "num_experts_per_tok": 3,
     "sliding_window": 7},
    {"model_type": "mixtral", **SMALL, "num_experts": 3},
    {"model_type": "qwen2", **SMALL, **SLIDING, "max_window_layers": 2},
    {"model_type": "qwen2", **SMALL, **SLIDING},
    {"model_type": "qwen2", **SMALL, **SLIDING, "sliding_window": None, "max_window_layers": 0},
    {"model_type": "qwen2", **SMALL, **SLIDING,
     "layer_types": ["sliding_attention", "full_attention"] * 2},
    {"model_type": "qwen2", **SMALL, "num_key_value_heads": None, "sliding_window": 3,
     "max_window_layers": 0},
    {"model_type": "qwen3", **SMALL, **SLIDING, "max_window_layers": 3, "attention_bias": True},
    {"model_type": "qwen3", **SMALL, "head_dim": 20, "tie_word_embeddings": True},
    {"model_type": "qwen2_moe", **SMALL_MOE, "shared_expert_intermediate_size": 20,
     "decoder_sparse_step": 2},
    {"model_type": "qwen2_moe", **SMALL_MOE, **SLIDING, "max_window_layers": 3,
     "mlp_only_layers": [1, 3], "qkv_bias": False, "norm_topk_prob": True},
    {"model_type": "qwen2_moe", **SMALL_MOE, **SLIDING, "mlp_only_layers": None,
     "layer_types": ["full_attention", "sliding_attention"] * 2},
    {"model_type": "qwen3_moe", **SMALL_MOE, **SLIDING, "max_window_layers": 2,
     "decoder_sparse_step": 3, "norm_topk_prob": True},
    {"model_type": "qwen3_moe", **SMALL, "num_local_experts": 6,
     "num_experts_per_tok": 3, "attention_bias": True,
     "head_dim": 10, "mlp_only_layers": [0]},
]


def window_of(config, index):
    types = getattr(config, "layer_types", None)
    if types and types[index] == "full_attention":
        return 0
    return getattr(config, "sliding_window", None) or 0


def layer_of(config, index, layer):
    moe = hasattr(layer.mlp, "experts")
    return {"moe": moe, "sliding_window": window_of(config, index)}


def routed_of(model):
    for layer in model.model.layers:
        if hasattr(layer.mlp, "experts"):
            down = layer.mlp.experts.down_proj
            shared = getattr(layer.mlp, "shared_expert", None)
            return {
                "experts": down.shape[0],
                "intermediate": down.shape[2],
                "top_k": layer.mlp.gate.top_k,
                # Mixtral's router has no switch: it always renormalises.
                "norm_topk_prob": getattr(layer.mlp.gate, "norm_topk_prob", True),
                "shared_intermediate": shared.up_proj.out_features if shared is not None else 0,
            }
    return None


def describe(case):
    config = AutoConfig.for_model(**case)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    layers = model.model.layers
    attention = layers[0].self_attn
    eos = config.eos_token_id
    return {
        "architecture": type(model).__name__,
        "hidden": model.model.embed_tokens.embedding_dim,
        "vocab": model.model.embed_tokens.num_embeddings,
        "head_dim": attention.head_dim,
        "heads": attention.q_proj.out_features // attention.head_dim,
        "kv_heads": attention.k_proj.out_features // attention.head_dim,
        "max_positions": config.max_position_embeddings,
        "rms_norm_eps": layers[0].input_layernorm.variance_epsilon,
        "rope_theta": config.rope_parameters["rope_theta"],
        "qkv_bias": attention.q_proj.bias is not None,
        "output_bias": attention.o_proj.bias is not None,
        "mlp_bias": getattr(getattr(layers[0].mlp, "up_proj", None), "bias", None) is not None,
        "qk_norm": hasattr(attention, "q_norm"),
        "tied_embeddings": config.tie_word_embeddings,
        "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "layers": [layer_of(config, i, layer) for i, layer in enumerate(layers)],
        "moe": routed_of(model),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    out = parser.parse_args().out
    cases = ",\n".join(json.dumps({"config": c, "expected": describe(dict(c))}) for c in CASES)
    with open(out, "w", encoding="utf-8") as file:
        file.write(f'{{"transformers": "{transformers.__version__}", "cases": [\n{cases}\n]}}\n')


if __name__ == "__main__":
    main()
