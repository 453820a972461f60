# SPDX-License-Identifier: Apache-2.0
"""The golden variants of JetMoE and FlexOlmo."""

from .variant import BASE, DELETE, variants_of


_HEADLESS = {key: value for key, value in BASE.items() if key != "num_attention_heads"}
_jetmoe = variants_of("jetmoe", _HEADLESS | {
    "kv_channels": 8, "intermediate_size": 8, "num_local_experts": 4, "num_experts_per_tok": 2
}, packed=True)

JETMOE = [
    _jetmoe(
        "classic",
        "as released: top 2 of 8 experts of attention and of the MLP, tied, four query heads",
        {"num_local_experts": 8, "num_attention_heads": 4, "activation_function": "silu",
         "glu": True, "bias": True, "tie_word_embeddings": True, "rope_theta": 10000.0,
         "rms_norm_eps": 1e-05, "aux_loss_coef": 0.01},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 1}, {"rope_theta": 100.0}, {"rms_norm_eps": 0.5}],
    ),
    _jetmoe(
        "defaults",
        "what can be left to its default, also the tied head; one key head",
        {"num_key_value_heads": 1, "kv_channels": 12},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 3}, {"rms_norm_eps": 0.5}],
    ),
    _jetmoe(
        "top-1",
        "top 1, own head, gelu, three layers, sharded",
        {"num_hidden_layers": 3, "num_experts_per_tok": 1, "tie_word_embeddings": False,
         "activation_function": "gelu"},
        dtype="BF16", shard_bytes=25000,
        matters=[{"activation_function": "silu"}, {"num_experts_per_tok": 2}],
    ),
    _jetmoe(
        "top-3",
        "top 3 of 5, three key heads, an eps of the last norm that shows, float16",
        {"num_local_experts": 5, "num_experts_per_tok": 3, "num_key_value_heads": 3,
         "head_dim": 8, "kv_channels": DELETE, "rms_norm_eps": 0.2},
        dtype="F16",
        matters=[{"rms_norm_eps": 1e-06}, {"num_experts_per_tok": 2}],
    ),
    _jetmoe(
        "all",
        "every expert chosen, linear rope (old style), float32",
        {"hidden_size": 24, "num_local_experts": 2, "rope_theta": 1000.0,
         "rope_scaling": {"type": "linear", "factor": 2.5}, "activation_function": "relu"},
        matters=[{"rope_scaling": None}, {"activation_function": "silu"},
                 {"num_experts_per_tok": 1}],
    ),
    _jetmoe(
        "yarn",
        "yarn, heads of 16, own head",
        {"kv_channels": 16, "num_key_value_heads": 1, "tie_word_embeddings": False,
         "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

_flex_olmo = variants_of("flex_olmo", BASE | {
    "intermediate_size": 8, "num_experts": 7, "num_experts_per_tok": 3, "pad_token_id": None
})

FLEX_OLMO = [
    _flex_olmo(
        "classic",
        "as released: top 5 of 7, weights not normalised, as many key heads as heads",
        {"num_experts_per_tok": 5, "norm_topk_prob": False, "num_key_value_heads": 4,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "rope_theta": 500000, "rope_scaling": None,
         "attention_bias": False, "attention_dropout": 0.0, "output_router_logits": False,
         "router_aux_loss_coef": 0.01, "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 4}, {"rope_theta": 100}],
    ),
    _flex_olmo(
        "defaults",
        "what can be left to its default, but for tied embeddings",
        {"num_key_value_heads": DELETE, "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}],
    ),
    _flex_olmo(
        "bias",
        "biases of q, k, v and output, gelu, float16",
        {"attention_bias": True, "hidden_act": "gelu"},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 2}],
    ),
    _flex_olmo(
        "packed",
        "experts in one tensor, normalised, which shows by a large eps only, heads of 12, one "
        "key head, relu",
        {"norm_topk_prob": True, "head_dim": 12, "num_key_value_heads": 1, "hidden_act": "relu",
         "rms_norm_eps": 0.3},
        packed=True,
        matters=[{"norm_topk_prob": False}, {"hidden_act": "silu"}, {"rms_norm_eps": 1e-06}],
    ),
    _flex_olmo(
        "top-1",
        "top 1 of 4, three layers, linear rope in the old style, sharded",
        {"num_hidden_layers": 3, "num_experts": 4, "num_experts_per_tok": 1, "rope_theta": 1000.0,
         "rope_scaling": {"type": "linear", "factor": 2.5}},
        dtype="BF16", shard_bytes=25000,
        matters=[{"rope_scaling": None}, {"num_experts_per_tok": 2}],
    ),
    _flex_olmo(
        "yarn",
        "yarn, heads of 16",
        {"head_dim": 16, "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

MORE = [*JETMOE, *FLEX_OLMO]
