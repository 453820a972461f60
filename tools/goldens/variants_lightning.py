# SPDX-License-Identifier: Apache-2.0
"""The golden variants of MiniMax-Text-01 and M1: lightning attention, and full in every few layers."""

from .variant import BASE, DELETE, variants_of

_L, _F = "linear_attention", "full_attention"
_SIZES = BASE | {"head_dim": 8, "intermediate_size": 10, "num_local_experts": 6,
                 "num_experts_per_tok": 2, "pad_token_id": None}
_PUBLISHED = {"rope_theta": 10000000, "rotary_dim": 4, "postnorm": True, "rms_norm_eps": 1e-05,
              "shared_intermediate_size": 0, "shared_moe_mode": "sigmoid", "hidden_act": "silu",
              "sliding_window": None, "tie_word_embeddings": False, "attention_dropout": 0.0,
              "router_jitter_noise": 0.0, "output_router_logits": False}
_ALPHA = 3.5565588200778455


def _factors(full, linear, mlp):
    return {"full_attn_alpha_factor": full[0], "full_attn_beta_factor": full[1],
            "linear_attn_alpha_factor": linear[0], "linear_attn_beta_factor": linear[1],
            "mlp_alpha_factor": mlp[0], "mlp_beta_factor": mlp[1]}


def _authors(full, linear, mlp):
    return {"layernorm_full_attention_alpha": full[0], "layernorm_full_attention_beta": full[1],
            "layernorm_linear_attention_alpha": linear[0],
            "layernorm_linear_attention_beta": linear[1],
            "layernorm_mlp_alpha": mlp[0], "layernorm_mlp_beta": mlp[1]}


_minimax = variants_of("minimax", _SIZES)
_text = variants_of("minimax_text_01", _SIZES)
_m1 = variants_of("minimax_m1", _SIZES)

MINIMAX = [
    _minimax(
        "classic",
        "as converted: lightning attention first, full in every fourth layer, half of each head "
        "turns, top 2 of 8; with the decays that Transformers writes; bfloat16, sharded",
        _PUBLISHED | _factors((_ALPHA, 1.0), (_ALPHA, 1.0), (_ALPHA, 1.0)) | {
            "num_hidden_layers": 4, "layer_types": [_L, _L, _L, _F], "num_local_experts": 8,
            "block_size": 4},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 70),
        matters=[{"num_experts_per_tok": 3}, {"rotary_dim": 8}, {"rms_norm_eps": 0.1},
                 {"full_attn_alpha_factor": 1.0}, {"linear_attn_alpha_factor": 1.0},
                 {"mlp_alpha_factor": 1.0}, {"rope_theta": 100.0}],
    ),
    _minimax(
        "packed",
        "packed experts, full attention in every second layer by default, six factors, tied, "
        "whole heads turn, top 3, no head_dim, multi-head",
        _factors((1.5, 0.75), (0.5, 2.0), (1.25, 0.25)) | {
            "num_hidden_layers": 3, "head_dim": DELETE, "num_experts_per_tok": 3,
            "num_key_value_heads": 4, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="BF16", packed=True,
        matters=[{"full_attn_alpha_factor": 1.0}, {"full_attn_beta_factor": 1.0},
                 {"linear_attn_alpha_factor": 1.0}, {"linear_attn_beta_factor": 1.0},
                 {"mlp_alpha_factor": 1.0}, {"mlp_beta_factor": 1.0}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 10.0}}],
    ),
    _minimax(
        "window",
        "a window of 12 where attention is full, multi-query, gelu of networks and of q, k and v, "
        "theta and factors by default",
        {"num_hidden_layers": 3, "layer_types": [_F, _F, _L], "sliding_window": 12,
         "num_key_value_heads": 1, "hidden_act": "gelu", "partial_rotary_factor": 0.5},
        dtype="BF16", prompts=(1, 7, 60), greedy_prompt=14,
        matters=[{"sliding_window": None}, {"sliding_window": 13}, {"hidden_act": "silu"},
                 {"rope_theta": 100.0}, {"partial_rotary_factor": 1.0}],
    ),
    _minimax(
        "odd",
        "three heads of 10, which no vector has, three of five experts of 7, another epsilon, "
        "nothing stays of the stream before full attention; float32",
        _factors((0.0, 1.0), (1.5, 1.0), (1.0, 1.5)) | {
            "hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 10,
            "num_hidden_layers": 3, "layer_types": [_L, _F, _L], "intermediate_size": 7,
            "num_local_experts": 5, "num_experts_per_tok": 3, "rms_norm_eps": 0.05},
        prompts=(1, 2, 3, 50),
        matters=[{"rms_norm_eps": 1e-05}, {"num_experts_per_tok": 4},
                 {"full_attn_alpha_factor": 1.0}],
    ),
    _minimax(
        "wide",
        "heads of 80, more than a unit of work has, prompts beyond blocks of 16, linear rope, "
        "num_experts for num_local_experts; float16, packed",
        _factors((2.0, 1.0), (1.5, 1.0), (2.5, 1.0)) | {
            "hidden_size": 20, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 80,
            "layer_types": [_L, _F], "block_size": 16, "num_local_experts": DELETE,
            "num_experts": 4, "rope_theta": 1000.0,
            "rope_scaling": {"type": "linear", "factor": 2.5}},
        dtype="F16", packed=True, prompts=(1, 7, 120),
        matters=[{"rope_scaling": None}, {"num_experts_per_tok": 3},
                 {"linear_attn_alpha_factor": 1.0}],
    ),
    _minimax(
        "dynamic",
        "dynamic NTK beyond a context of 24, lightning attention on both sides of the full one",
        _factors((2.0, 0.5), (2.0, 0.5), (2.0, 0.5)) | {
            "num_hidden_layers": 3, "layer_types": [_L, _F, _L], "max_position_embeddings": 24,
            "rotary_dim": 6,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}},
        dtype="BF16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"rotary_dim": 8}],
    ),
    _minimax(
        "full",
        "full attention alone, one expert of seven, eight heads; sharded",
        _factors((2.0, 0.5), (1.0, 1.0), (0.5, 2.0)) | {
            "num_attention_heads": 8, "num_key_value_heads": 4, "layer_types": [_F, _F],
            "num_local_experts": 7, "num_experts_per_tok": 1, "head_dim": 6},
        dtype="BF16", shard_bytes=30000,
        matters=[{"num_experts_per_tok": 2}, {"full_attn_beta_factor": 1.0},
                 {"mlp_beta_factor": 1.0}],
    ),
]

# Of the authors.
TEXT_01 = [
    _text(
        "classic",
        "the authors' architecture and keys, as MiniMax-Text-01 is released, but for its size",
        _PUBLISHED | _authors((_ALPHA, 1.0), (_ALPHA, 1.0), (_ALPHA, 1.0)) | {
            "num_hidden_layers": 4, "attn_type_list": [0, 0, 0, 1], "num_local_experts": 8},
        dtype="BF16", prompts=(1, 7, 40, 90),
        matters=[{"num_experts_per_tok": 1}, {"rotary_dim": 2},
                 {"layernorm_full_attention_alpha": 1.0},
                 {"layernorm_linear_attention_alpha": 1.0}, {"layernorm_mlp_alpha": 1.0}],
    ),
    _text(
        "packed",
        "packed experts, six factors, a tied head, whole heads turn, top 3, no head_dim, as many "
        "key heads as heads, num_experts for num_local_experts",
        _authors((1.5, 0.75), (0.5, 2.0), (1.25, 0.25)) | {
            "num_hidden_layers": 3, "attn_type_list": [1, 0, 1], "postnorm": True,
            "head_dim": DELETE, "num_experts_per_tok": 3, "num_key_value_heads": 4,
            "tie_word_embeddings": True, "num_local_experts": DELETE, "num_experts": 5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="BF16", packed=True,
        matters=[{"layernorm_full_attention_beta": 1.0}, {"layernorm_linear_attention_beta": 1.0},
                 {"layernorm_mlp_beta": 1.0},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 10.0}}],
    ),
    _text(
        "full",
        "full attention alone, one expert of seven, six heads, factors by default but one; sharded",
        {"num_attention_heads": 6, "num_key_value_heads": 3, "attn_type_list": [1, 1],
         "num_local_experts": 7, "num_experts_per_tok": 1, "head_dim": 6, "postnorm": True,
         "layernorm_mlp_beta": 2.0},
        dtype="BF16", shard_bytes=30000,
        matters=[{"num_experts_per_tok": 2}, {"layernorm_mlp_beta": 1.0}, {"rope_theta": 100.0}],
    ),
    _text(
        "odd",
        "heads of 10, which no vector has, of which four numbers turn, three of five experts of 7, "
        "another epsilon, nothing stays of the stream before full attention",
        _authors((0.0, 1.0), (1.5, 1.0), (1.0, 1.5)) | {
            "hidden_size": 36, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 10,
            "num_hidden_layers": 3, "attn_type_list": [0, 1, 0], "intermediate_size": 7,
            "num_local_experts": 5, "num_experts_per_tok": 3, "rms_norm_eps": 0.05,
            "rotary_dim": 4, "postnorm": True},
        prompts=(1, 2, 3, 50),
        matters=[{"rms_norm_eps": 1e-05}, {"num_experts_per_tok": 4}, {"rotary_dim": 10},
                 {"layernorm_full_attention_alpha": 1.0}],
    ),
    _text(
        "dynamic",
        "dynamic NTK beyond a context of 24, lightning attention on both sides of the full one",
        _authors((2.0, 0.5), (2.0, 0.5), (2.0, 0.5)) | {
            "num_hidden_layers": 3, "attn_type_list": [0, 1, 0], "max_position_embeddings": 24,
            "rotary_dim": 6, "postnorm": True,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}},
        dtype="F16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"rotary_dim": 8}],
    ),
    _text(
        "blocks",
        "gelu of networks and of q, k and v, one key head, blocks of 4 and the decays that "
        "Transformers writes, a part of each head instead of rotary_dim, one head of lightning "
        "attention; float16, sharded",
        _authors((1.5, 1.0), (2.0, 1.0), (1.0, 0.5)) | {
            "num_hidden_layers": 3, "attn_type_list": [1, 0, 1], "num_attention_heads": 1,
            "num_key_value_heads": 1, "hidden_act": "gelu", "partial_rotary_factor": 0.5,
            "block_size": 4, "postnorm": True},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 50),
        matters=[{"hidden_act": "silu"}, {"partial_rotary_factor": 1.0}, {"rope_theta": 100.0}],
    ),
]

M1 = [
    _m1(
        "classic",
        "the authors' keys, as MiniMax-M1 is released, but for its size and other factors",
        _PUBLISHED | _authors((3.0, 0.5), (2.0, 0.75), (1.5, 2.0)) | {
            "num_hidden_layers": 3, "attn_type_list": [0, 1, 0]},
        dtype="BF16", shard_bytes=30000,
        matters=[{"layernorm_full_attention_beta": 1.0}, {"layernorm_linear_attention_beta": 1.0},
                 {"layernorm_mlp_beta": 1.0}, {"rotary_dim": 8}],
    ),
    _m1(
        "linear",
        "linear rope of the old style, heads of 80, more than a unit of work has, prompts beyond "
        "blocks of 16; float16, packed",
        _authors((2.0, 1.0), (1.5, 1.0), (2.5, 1.0)) | {
            "hidden_size": 20, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 80,
            "attn_type_list": [0, 1], "block_size": 16, "num_local_experts": 4, "postnorm": True,
            "rope_theta": 1000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
        dtype="F16", packed=True, prompts=(1, 7, 120),
        matters=[{"rope_scaling": None}, {"num_experts_per_tok": 3},
                 {"layernorm_linear_attention_alpha": 1.0}],
    ),
    _m1(
        "yarn",
        "yarn of whole heads, one key head, all of four experts, full attention first and last; "
        "sharded",
        _authors((1.5, 0.5), (1.0, 2.0), (2.0, 1.0)) | {
            "num_hidden_layers": 3, "attn_type_list": [1, 0, 1], "num_key_value_heads": 1,
            "num_local_experts": 4, "num_experts_per_tok": 4, "postnorm": True,
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                "original_max_position_embeddings": 32}},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
                 {"num_experts_per_tok": 2}, {"layernorm_full_attention_alpha": 1.0}],
    ),
    _m1(
        "llama3",
        "llama3 rope of six numbers of each head, eight heads, a tied head, gelu by tanh, top 1",
        _authors((1.0, 1.5), (1.5, 1.0), (0.5, 1.0)) | {
            "num_attention_heads": 8, "num_key_value_heads": 4, "attn_type_list": [0, 1],
            "tie_word_embeddings": True, "hidden_act": "gelu_pytorch_tanh", "rotary_dim": 6,
            "num_experts_per_tok": 1, "postnorm": True, "rope_theta": 500.0,
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        prompts=(1, 7, 80),
        matters=[{"rope_scaling": None}, {"hidden_act": "silu"}, {"rotary_dim": 4},
                 {"num_experts_per_tok": 2}],
    ),
    _m1(
        "defaults",
        "factors, theta and what turns by default, one lightning layer in front of two full ones, "
        "an epsilon that counts; bfloat16",
        {"num_hidden_layers": 3, "attn_type_list": [0, 1, 1], "postnorm": True,
         "rms_norm_eps": 0.05, "num_key_value_heads": 4, "hidden_size": 24},
        dtype="BF16",
        matters=[{"rms_norm_eps": 1e-05}, {"rope_theta": 100.0},
                 {"layernorm_linear_attention_beta": 0.5}],
    ),
    _m1(
        "far",
        "rotations of two factors by length, two lightning layers and a full one, relu; float16",
        _authors((2.0, 1.0), (1.0, 1.0), (1.0, 2.0)) | {
            "num_hidden_layers": 3, "attn_type_list": [0, 0, 1], "intermediate_size": 5,
            "num_local_experts": 4, "hidden_act": "relu", "postnorm": True,
            "rope_parameters": {"rope_type": "longrope", "rope_theta": 100.0, "factor": 4.0,
                                "short_factor": [1.0, 1.1, 1.2, 1.5],
                                "long_factor": [1.0, 2.0, 3.0, 4.0],
                                "original_max_position_embeddings": 32}},
        dtype="F16", prompts=(1, 7, 33, 60), greedy_prompt=20,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
                 {"hidden_act": "silu"}, {"layernorm_mlp_beta": 1.0}],
    ),
]

LIGHTNING = [*MINIMAX, *TEXT_01, *M1]
