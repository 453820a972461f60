# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Granite with experts."""

from .variant import BASE, Variant


def _granite(name, description, config, shared=False, **kwargs):
    family = "granitemoeshared" if shared else "granitemoe"
    base = BASE | {"intermediate_size": 12, "num_local_experts": 6, "num_experts_per_tok": 2}
    return Variant(f"{family}-{name}", family, description, base | config, **kwargs)


# As released; without them Granite multiplies by 1, also where 1 / sqrt(head_dim) is usual.
_MULTIPLIERS = {"attention_multiplier": 0.3, "embedding_multiplier": 3.0, "logits_scaling": 2.0,
                "residual_multiplier": 0.6}

GRANITE = [
    _granite(
        "classic",
        "as released: grouped-query, tied head, four multipliers, top 4 of 8",
        {**_MULTIPLIERS, "embedding_multiplier": 0.5, "num_local_experts": 8,
         "num_experts_per_tok": 4, "intermediate_size": 8, "tie_word_embeddings": True, "rope_theta": 10000.0, "rope_scaling": None,
         "attention_bias": False, "attention_dropout": 0.1, "rms_norm_eps": 1e-06},
        matters=[{key: 1.0} for key in _MULTIPLIERS] + [{"num_experts_per_tok": 2}],
    ),
    _granite(
        "defaults",
        "every multiplier left to its default of 1, multi-head, own head",
        {"num_key_value_heads": None},
        matters=[{"attention_multiplier": 0.35}, {"rms_norm_eps": 0.1}],
    ),
    _granite(
        "bias",
        "biases of attention, multi-query, gelu, top 1, bfloat16, sharded",
        {**_MULTIPLIERS, "attention_bias": True, "num_key_value_heads": 1, "hidden_act": "gelu",
         "num_experts_per_tok": 1},
        dtype="BF16", shard_bytes=15000,
        matters=[{"hidden_act": "silu"}, {"residual_multiplier": 1.0}],
    ),
    _granite(
        "shared",
        "a shared expert beside top 2 of 6, three layers, float16",
        {**_MULTIPLIERS, "shared_intermediate_size": 20, "num_hidden_layers": 3},
        shared=True, dtype="F16",
        matters=[{"logits_scaling": 1.0}, {"embedding_multiplier": 1.0}],
    ),
    _granite(
        "no-shared",
        "the architecture with a shared expert, without one",
        {**_MULTIPLIERS, "shared_intermediate_size": 0, "num_experts_per_tok": 3},
        shared=True,
        matters=[{"attention_multiplier": 1.0}],
    ),
    _granite(
        "yarn",
        "a shared expert, yarn, two heads of 16, relu",
        {**_MULTIPLIERS, "shared_intermediate_size": 12, "num_attention_heads": 2,
         "hidden_act": "relu", "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        shared=True, prompts=(1, 7, 40, 100),
        matters=[{"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _granite(
        "linear",
        "linear rope, three layers, heads of 16, relu, all of 4 experts, float16",
        {**_MULTIPLIERS, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
         "num_local_experts": 4, "num_experts_per_tok": 4, "hidden_act": "relu",
         "residual_multiplier": 0.22,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.5}},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"residual_multiplier": 1.0},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _granite(
        "many",
        "eight small experts, top 3, logits scaled by less than 1, sharded",
        {**_MULTIPLIERS, "num_local_experts": 8, "num_experts_per_tok": 3, "intermediate_size": 8,
         "logits_scaling": 0.5, "rope_theta": 10000000.0},
        dtype="BF16", shard_bytes=8000, prompts=(1, 7, 30),
        matters=[{"logits_scaling": 1.0}, {"num_experts_per_tok": 4}, {"rope_theta": 10000.0}],
    ),
    _granite(
        "llama3",
        "llama3 rope, biases of attention, multi-head, top 3 of 5, a wider epsilon",
        {**_MULTIPLIERS, "attention_bias": True, "num_key_value_heads": 4, "num_local_experts": 5,
         "num_experts_per_tok": 3, "rms_norm_eps": 1e-03,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                             "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 40, 80),
        matters=[{"rms_norm_eps": 0.1}, {"attention_multiplier": 0.5},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
    _granite(
        "wide",
        "a shared expert wider than all others together, top 1, multi-query, bfloat16, tied",
        {**_MULTIPLIERS, "embedding_multiplier": 0.5, "shared_intermediate_size": 80,
         "num_experts_per_tok": 1, "num_key_value_heads": 1, "tie_word_embeddings": True},
        shared=True, dtype="BF16",
        matters=[{"num_experts_per_tok": 2}, {"residual_multiplier": 1.0}],
    ),
    _granite(
        "bias",
        "a shared expert, biases of attention, gelu, every multiplier at its default, sharded",
        {"shared_intermediate_size": 12, "attention_bias": True, "hidden_act": "gelu",
         "num_key_value_heads": 4},
        shared=True, shard_bytes=15000,
        matters=[{"hidden_act": "silu"}, {"embedding_multiplier": 2.0},
                 {"attention_multiplier": 0.3}],
    ),
    _granite(
        "many",
        "a shared expert beside top 4 of 8, linear rope, logits scaled by less than 1, float16",
        {**_MULTIPLIERS, "shared_intermediate_size": 8, "num_local_experts": 8,
         "num_experts_per_tok": 4, "intermediate_size": 4, "logits_scaling": 0.5,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}},
        shared=True, dtype="F16", prompts=(1, 7, 30),
        matters=[{"logits_scaling": 1.0}, {"num_experts_per_tok": 3},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
]
