# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Grok-1."""

from .variant import BASE, DELETE, variants_of

_BASE = BASE | {"intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 2,
                "attn_output_multiplier": 0.35, "embedding_multiplier_scale": 2.0,
                "output_multiplier_scale": 0.9, "pad_token_id": None}


_grok = variants_of("grok-1", _BASE, prefix="grok1")

GROK = [
    _grok(
        "classic",
        "as converted: top 2 of 8, tied",
        {"max_attn_value": 30.0, "rms_norm_eps": 1e-05, "tie_word_embeddings": True,
         "output_router_logits": False, "router_aux_loss_coef": 0.001,
         "output_multiplier_scale": 0.5773502691896257},
        dtype="BF16",
        matters=[{"attn_output_multiplier": 0.5}, {"embedding_multiplier_scale": 4.0},
                 {"output_multiplier_scale": 1.0}, {"num_experts_per_tok": 3}],
    ),
    _grok(
        "defaults",
        "multipliers and eps left to their defaults, as many key heads as heads, own head",
        {"attn_output_multiplier": DELETE, "embedding_multiplier_scale": DELETE,
         "output_multiplier_scale": DELETE, "num_key_value_heads": 4,
         "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"attn_output_multiplier": 0.5}, {"embedding_multiplier_scale": 4.0},
                 {"output_multiplier_scale": 1.0}, {"rms_norm_eps": 0.1}],
    ),
    _grok(
        "capped",
        "scores that the cap bends, a head of its own",
        {"attn_output_multiplier": 6.0, "tie_word_embeddings": False, "num_key_value_heads": 1},
        dtype="BF16",
        matters=[{"attn_output_multiplier": 5.0}],
    ),
    _grok(
        "top-1",
        "top 1 of 4, three layers, an eps that shows, float16, sharded",
        {"num_hidden_layers": 3, "num_experts": 4, "num_experts_per_tok": 1, "rms_norm_eps": 0.05},
        dtype="F16", shard_bytes=30000,
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 1e-5}],
    ),
    _grok(
        "all",
        "every expert chosen, heads of 16, float32",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "num_experts": 3,
         "num_experts_per_tok": 3, "tie_word_embeddings": False,
         "output_multiplier_scale": 1.0},
        matters=[{"num_experts_per_tok": 2}, {"output_multiplier_scale": 0.5}],
    ),
    _grok(
        "long",
        "a longer prompt, hidden 48, six heads, a multiplier of 1",
        {"hidden_size": 48, "num_attention_heads": 6, "max_position_embeddings": 100,
         "embedding_multiplier_scale": 1.0},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"embedding_multiplier_scale": 2.0}],
    ),
]
