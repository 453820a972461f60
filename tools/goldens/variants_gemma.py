# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the dense Gemmas."""

from .variant import BASE, variants_of

_GEMMA_BASE = BASE | {"head_dim": 8, "intermediate_size": 24, "pad_token_id": 0}

_gemma = variants_of("gemma", _GEMMA_BASE)
_gemma2 = variants_of("gemma2", _GEMMA_BASE)
_gemma3 = variants_of("gemma3_text", _GEMMA_BASE)


def _layer_ropes(sliding, full):
    return {"rope_parameters": {"sliding_attention": sliding, "full_attention": full}}


_THETA_50 = {"rope_type": "default", "rope_theta": 50.0}
_LINEAR_8 = {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0}

GEMMA = [
    _gemma(
        "classic",
        "as released: multi-query, a head of 12, two names of the activation, tied by default",
        {"num_key_value_heads": 1, "head_dim": 12, "hidden_act": "gelu_pytorch_tanh",
         "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 10000.0, "rope_scaling": None,
         "attention_bias": False, "rms_norm_eps": 1e-06},
        dtype="BF16",
        matters=[{"rope_theta": 100.0}, {"rms_norm_eps": 0.1}, {"hidden_act": "silu"}],
    ),
    _gemma(
        "bias",
        "biases of attention, own head, multi-head, relu, sharded",
        {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 4,
         "hidden_act": "relu"},
        dtype="BF16", shard_bytes=20000,
        matters=[{"hidden_act": "gelu_pytorch_tanh"}, {"rope_theta": 100.0}],
    ),
    _gemma(
        "linear",
        "linear rope (old style), a width that has no round root, activation by default, float16",
        {"hidden_size": 40, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
         "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
        dtype="F16",
        matters=[{"rope_scaling": None}, {"hidden_act": "silu"}],
    ),
    _gemma2(
        "classic",
        "as released: grouped-query, layers 0 and 2 slide (16), soft caps of 50 and 30, scores "
        "scaled by query_pre_attn_scalar",
        {"num_hidden_layers": 3, "hidden_act": "gelu_pytorch_tanh",
         "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 12,
         "sliding_window": 16, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
         "cache_implementation": "hybrid", "rope_theta": 10000.0},
        dtype="BF16", prompts=(1, 7, 17, 50), greedy_prompt=10,
        matters=[{"query_pre_attn_scalar": 8}, {"sliding_window": 17}, {"sliding_window": 15},
                 {"final_logit_softcapping": None}, {"hidden_activation": "silu"},
                 {"layer_types": ["full_attention"] * 3}, {"rms_norm_eps": 0.1}],
    ),
    _gemma2(
        "caps",
        "soft caps of 2 and 4, large scores, window of 4096 by default, own head, sharded",
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0, "head_dim": 12,
         "query_pre_attn_scalar": 1, "tie_word_embeddings": False},
        dtype="BF16", shard_bytes=20000,
        matters=[{"attn_logit_softcapping": None}, {"attn_logit_softcapping": 3.0},
                 {"final_logit_softcapping": None}, {"query_pre_attn_scalar": 16}],
    ),
    _gemma2(
        "layer-types",
        "layer_types with layer 1 sliding (12), no soft caps, biases, yarn, multi-query, float16",
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 12,
         "attn_logit_softcapping": None, "final_logit_softcapping": None, "attention_bias": True,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
         "query_pre_attn_scalar": 20, "hidden_activation": "gelu",
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"layer_types": ["full_attention"] * 2}, {"attn_logit_softcapping": 2.0},
                 {"final_logit_softcapping": 4.0}, {"hidden_activation": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _gemma3(
        "classic",
        "as released with 1b: norms of q and k before rope, five of six layers slide (16) with a "
        "theta of their own",
        {"hidden_size": 24, "intermediate_size": 16, "num_attention_heads": 2,
         "num_key_value_heads": 1, "num_hidden_layers": 7, "sliding_window": 16,
         "sliding_window_pattern": 6, "query_pre_attn_scalar": 12, "rope_theta": 1000000.0,
         "rope_local_base_freq": 10000.0, "rope_scaling": None, "attn_logit_softcapping": None,
         "final_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh",
         "cache_implementation": "hybrid"},
        dtype="BF16", prompts=(1, 7, 17, 50), greedy_prompt=10,
        matters=[{"rope_local_base_freq": 100.0}, {"rope_theta": 100.0}, {"sliding_window": 17},
                 {"sliding_window_pattern": 2}, {"query_pre_attn_scalar": 8},
                 {"rms_norm_eps": 0.1}],
    ),
    _gemma3(
        "layer-types",
        "as Transformers 5 writes it: layer_types and a rope for each type, linear where "
        "attention is full, a soft cap of the logits, biases, own head, sharded",
        {"num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention",
                                                 "full_attention"],
         "sliding_window": 12, "query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0,
         "attention_bias": True, "tie_word_embeddings": False, "hidden_activation": "silu",
         **_layer_ropes(_THETA_50, _LINEAR_8)},
        dtype="BF16", shard_bytes=20000, prompts=(1, 7, 40),
        matters=[_layer_ropes(_THETA_50, _LINEAR_8 | {"factor": 2.0}),
                 _layer_ropes(_THETA_50 | {"rope_theta": 500.0}, _LINEAR_8),
                 _layer_ropes(_LINEAR_8, _THETA_50), {"final_logit_softcapping": None},
                 {"sliding_window": 13}],
    ),
    _gemma3(
        "linear",
        "as released with 4b: rope_scaling for the layers with full attention alone, thetas and "
        "more left to their defaults, every second layer slides (20), a head of 12, float16",
        {"num_hidden_layers": 4, "sliding_window": 20, "sliding_window_pattern": 2,
         "head_dim": 12, "num_key_value_heads": 1, "num_attention_heads": 2,
         "query_pre_attn_scalar": 10, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        dtype="F16", prompts=(1, 7, 40),
        matters=[{"rope_scaling": None}, {"rope_theta": 10000.0}, {"rope_local_base_freq": 100.0},
                 {"sliding_window_pattern": 3}],
    ),
    _gemma3(
        "yarn",
        "yarn where attention is full, linear where it slides (24), relu",
        {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
         "query_pre_attn_scalar": 16, "hidden_activation": "relu", "max_position_embeddings": 128,
         **_layer_ropes(_LINEAR_8, {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                    "original_max_position_embeddings": 32})},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[_layer_ropes(_LINEAR_8, {"rope_type": "default", "rope_theta": 100.0}),
                 _layer_ropes({"rope_type": "default", "rope_theta": 1000.0},
                              {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                               "original_max_position_embeddings": 32})],
    ),
]
