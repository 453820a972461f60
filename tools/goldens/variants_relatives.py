# SPDX-License-Identifier: Apache-2.0
"""More golden variants of A.X-K1, Aria, Mellum 2 and Granite Swash, and what Transformers 5.24 reads
of gpt-oss and MiMo-V2-Flash that versions before did not."""

from .variant import BASE, DELETE, variants_of
from .variants_2026 import _MLA, _MOE, _aria, _mimo
from .variants_recent import _YARN, _gpt_oss
from .variants_windows import _WINDOW, _ropes, _yarn

_axk1 = variants_of("axk1", BASE | _MLA | _MOE | {"first_k_dense_replace": 1, "n_group": 4,
                                                  "topk_group": 2})

AXK1 = [
    _axk1(
        "dense",
        "two dense layers of three, three shared experts as one, weights not normalised, relu",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "n_shared_experts": 3,
         "norm_topk_prob": False, "hidden_act": "relu", "rope_theta": 500.0},
        dtype="BF16",
        matters=[{"norm_topk_prob": True}, {"hidden_act": "silu"}, {"topk_group": 4}],
    ),
    _axk1(
        "yarn",
        "yarn with unequal mscales, four heads of sizes that no vector has, one group of two",
        {"num_attention_heads": 4, "num_key_value_heads": 4, "qk_nope_head_dim": 7,
         "qk_rope_head_dim": 6, "v_head_dim": 9, "kv_lora_rank": 11, "n_group": 2, "topk_group": 1,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "original_max_position_embeddings": 16, "beta_fast": 32.0,
                             "beta_slow": 1.0, "mscale": 0.7, "mscale_all_dim": 1.3}},
        prompts=(1, 7, 60),
        matters=[{"topk_group": 2}, {"num_experts_per_tok": 2}, {"rope_parameters": {
            "rope_type": "default", "rope_theta": 500.0}}],
    ),
    _axk1(
        "listed",
        "layers with experts by mlp_layer_types, the middle one dense, float16, sharded",
        {"num_hidden_layers": 3, "first_k_dense_replace": DELETE,
         "mlp_layer_types": ["sparse", "dense", "sparse"], "rope_theta": 500.0},
        dtype="F16", shard_bytes=30000,
        matters=[{"num_experts_per_tok": 2}, {"routed_scaling_factor": 1.0}],
    ),
]

ARIA = [
    _aria(
        "linear",
        "linear rotations, three shared experts as one, two wide heads, bfloat16",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 18,
         "moe_num_shared_experts": 3, "rope_theta": 1000.0,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}},
        dtype="BF16",
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"moe_topk": 2}],
    ),
    _aria(
        "llama3",
        "llama3 rotations, an odd width of experts, float16",
        {"intermediate_size": 7, "rope_theta": 1000.0,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 1000.0, "factor": 4.0,
                             "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"rms_norm_eps": 0.1}],
    ),
    _aria(
        "many",
        "all experts but one, multi-head, a base of rotations of its own",
        {"moe_num_experts": 5, "moe_topk": 4, "num_key_value_heads": 4, "rope_theta": 100.0},
        prompts=(1, 7, 20),
        matters=[{"moe_topk": 3}, {"rope_theta": 5000.0}],
    ),
]

_mellum = variants_of("mellum", BASE | _WINDOW | {
    "head_dim": 12, "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "num_experts_per_tok": 3, "rope_parameters": _ropes(5000.0, 100.0),
})

MELLUM = [
    _mellum(
        "all-dense",
        "all layers dense, multi-query, gelu, tied",
        {"mlp_layer_types": ["dense"] * 3, "num_key_value_heads": 1, "hidden_act": "gelu",
         "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"sliding_window": 16}],
    ),
    _mellum(
        "wide",
        "heads wider than the model shares out, an odd width of experts, yarn, float16",
        {"head_dim": 18, "num_attention_heads": 3, "num_key_value_heads": 3, "num_experts": 6,
         "num_experts_per_tok": 2, "moe_intermediate_size": 7,
         "rope_parameters": _yarn(500.0, 1000.0, attention_factor=1.2)},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"num_experts_per_tok": 3}, {"rope_parameters": _yarn(500.0, 1000.0)}],
    ),
    _mellum(
        "mtp",
        "with a layer that predicts a second token, which is not read; top 1, not normalised",
        {"num_mtp_layers": 1, "mtp_layer_types": ["sliding_attention"],
         "mtp_mlp_layer_types": ["sparse"], "num_experts_per_tok": 1, "norm_topk_prob": False},
        matters=[{"norm_topk_prob": True}, {"sliding_window": 9}],
    ),
]

_swash = variants_of("granitemoe_swa", BASE | {
    "num_hidden_layers": 3, "intermediate_size": 8, "num_local_experts": 8, "sliding_window": 8,
    "num_experts_per_tok": 3, "embedding_multiplier": 3.0, "attention_multiplier": 0.3,
    "residual_multiplier": 0.7, "logits_scaling": 1.5, "pad_token_id": None,
})

SWASH = [
    _swash(
        "unturned",
        "no layer rotates, four of six experts, multi-query, gelu, bfloat16",
        {"layer_rope_theta": [0, 0, 0], "num_local_experts": 6, "num_experts_per_tok": 4,
         "num_key_value_heads": 1, "hidden_act": "gelu"},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"layer_rope_theta": [100.0, 0, 0]},
                 {"num_experts_per_tok": 3}],
    ),
    _swash(
        "all-full",
        "no layer slides, top 1, a wide shared expert, tied, an eps that counts",
        {"layer_types": ["full_attention"] * 3, "num_experts_per_tok": 1,
         "shared_intermediate_size": 40, "tie_word_embeddings": True, "rms_norm_eps": 0.05},
        matters=[{"rms_norm_eps": 1e-06},
                 {"layer_types": ["sliding_attention"] * 3}],
    ),
    _swash(
        "all-sliding",
        "every layer slides, windows of 5, odd widths, multi-head, float16",
        {"layer_types": ["sliding_attention"] * 3, "sliding_window": 5, "intermediate_size": 7,
         "num_key_value_heads": 4, "attention_bias": True, "shared_intermediate_size": 9,
         "layer_rope_theta": [100.0, 0, 5000.0]},
        dtype="F16",
        matters=[{"sliding_window": 6}, {"layer_rope_theta": [5000.0, 0, 100.0]}],
    ),
]

GPT_OSS = [
    _gpt_oss(
        "limit",
        "gates and values clamped at 1.5, not at 7",
        {"swiglu_limit": 1.5, "swiglu_alpha": 1.702, "rope_theta": 1000, "rope_scaling": _YARN},
        dtype="BF16",
        matters=[{"swiglu_limit": 7.0}, {"swiglu_limit": 2.0}],
    ),
]

MIMO = [
    _mimo(
        "authors-window",
        "the authors' sliding_window_size, which does not count the token itself as sliding_window "
        "elsewhere does: windows of 9",
        {"sliding_window": 8, "sliding_window_size": 8, "attention_chunk_size": 8},
        dtype="BF16",
        matters=[{"sliding_window_size": 7}, {"sliding_window_size": 9}],
    ),
]

RELATIVES = [*ARIA, *AXK1, *GPT_OSS, *MELLUM, *MIMO, *SWASH]
