# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Jamba: selective scans, and attention in every few layers."""

from .variant import BASE, DELETE, variants_of

_jamba = variants_of("jamba", BASE | {
    "num_hidden_layers": 3, "intermediate_size": 12, "num_experts": 6, "num_experts_per_tok": 2,
    "attn_layer_period": 3, "attn_layer_offset": 1, "expert_layer_period": 2,
    "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 3})

JAMBA = [
    _jamba(
        "classic",
        "as released: attention in one of four layers, experts in every second one, 16 numbers of "
        "state, dt from two; a tensor per expert, bfloat16, sharded",
        {"num_hidden_layers": 4, "attn_layer_period": 4, "attn_layer_offset": 2,
         "num_experts": 8, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2,
         "mamba_dt_rank": 2, "mamba_conv_bias": True, "mamba_proj_bias": False,
         "mamba_inner_layernorms": True, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "tie_word_embeddings": False, "use_mamba_kernels": True, "sliding_window": None,
         "n_ctx": 256, "pad_token_id": 0, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 1}, {"rms_norm_eps": 0.1}, {"hidden_act": "gelu"}],
    ),
    _jamba(
        "packed",
        "packed experts, biased projections, convolutions over three rows without a bias, three "
        "times as wide, five numbers of state, attention first",
        {"attn_layer_offset": 0, "mamba_proj_bias": True, "mamba_conv_bias": False,
         "mamba_d_conv": 3, "mamba_expand": 3, "mamba_d_state": 5, "mamba_dt_rank": 7,
         "num_key_value_heads": 4},
        packed=True,
        matters=[{"num_experts_per_tok": 3}, {"rms_norm_eps": 0.1}],
    ),
    _jamba(
        "dense",
        "one expert is a dense network, tied, layers and rank of dt by default, but for the place "
        "of attention",
        {"num_experts": 1, "num_experts_per_tok": DELETE, "expert_layer_period": DELETE,
         "expert_layer_offset": DELETE, "mamba_dt_rank": "auto", "tie_word_embeddings": True,
         "attn_layer_period": DELETE, "attn_layer_offset": 2, "num_key_value_heads": 1},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"hidden_act": "gelu"}, {"rms_norm_eps": 0.1}],
    ),
    _jamba(
        "odd",
        "twenty channels, which no vector has, experts in every layer, three of five, gelu; "
        "convolutions over two rows",
        {"hidden_size": 20, "num_attention_heads": 2, "mamba_expand": 1, "mamba_d_conv": 2,
         "mamba_d_state": 3, "mamba_dt_rank": 1, "num_experts": 5, "num_experts_per_tok": 3,
         "expert_layer_period": 1, "expert_layer_offset": 0, "hidden_act": "gelu"},
        prompts=(1, 2, 3, 40),
        matters=[{"num_experts_per_tok": 2}, {"hidden_act": "silu"}],
    ),
    _jamba(
        "long",
        "attention in every second layer, experts in every third, long prompts, all experts, "
        "another epsilon, float16",
        {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
         "expert_layer_period": 3, "expert_layer_offset": 2, "num_experts": 3,
         "num_experts_per_tok": 3, "rms_norm_eps": 0.01, "head_dim": 12, "mamba_expand": 1},
        dtype="F16", prompts=(1, 7, 120),
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 1e-06}],
    ),
    _jamba(
        "one",
        "one expert of many, num_local_experts, 24 numbers of state, more than a vector has; "
        "packed, sharded",
        {"num_experts": DELETE, "num_local_experts": 7, "num_experts_per_tok": 1,
         "mamba_d_state": 24, "mamba_expand": 1, "hidden_size": 24, "num_key_value_heads": 2},
        dtype="BF16", packed=True, shard_bytes=30000,
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}],
    ),
]
