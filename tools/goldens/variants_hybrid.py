# SPDX-License-Identifier: Apache-2.0
"""The golden variants of LFM2, Granite 4 and Nemotron-H.

Shapes of states that hold as many numbers are among the changes that must matter: heads of another
width would fit the same tensors.
"""

from .variant import BASE, DELETE, variants_of

_CONV, _FULL, _LINEAR = "conv", "full_attention", "linear_attention"

_lfm2_moe = variants_of("lfm2_moe", BASE | {
    "num_hidden_layers": 3, "layer_types": [_CONV, _FULL, _CONV], "intermediate_size": 20,
    "moe_intermediate_size": 12, "num_experts": 6, "num_experts_per_tok": 2,
    "num_dense_layers": 1})

LFM2_MOE = [
    _lfm2_moe(
        "classic",
        "as released: two convolutions, then attention, and again, the first two layers dense, old "
        "config style, top 3 of 8, a bias of experts, a tied head",
        {"num_hidden_layers": 6, "layer_types": [_CONV, _CONV, _FULL] * 2, "num_dense_layers": 2,
         "num_experts": 8, "num_experts_per_tok": 3, "conv_L_cache": 3, "conv_bias": False,
         "norm_eps": 1e-05, "norm_topk_prob": True, "rope_theta": 1000000.0,
         "routed_scaling_factor": 1.0, "use_expert_bias": True, "use_cache": True,
         "initializer_range": 0.02, "pad_token_id": 0, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 2}, {"rope_theta": 10.0}, {"norm_topk_prob": False},
                 {"norm_eps": 0.1}, {"routed_scaling_factor": 2.5}],
    ),
    _lfm2_moe(
        "biases",
        "biases of convolutions and their projections, which see four rows, no bias of experts, a "
        "head of its own, float16",
        {"conv_bias": True, "conv_L_cache": 4, "use_expert_bias": False,
         "tie_word_embeddings": False},
        dtype="F16",
        matters=[{"num_experts_per_tok": 1}, {"norm_eps": 0.1}],
    ),
    _lfm2_moe(
        "scaled",
        "weights as they are, times 2.5, packed experts in every layer, convolutions of two rows",
        {"norm_topk_prob": False, "routed_scaling_factor": 2.5, "conv_L_cache": 2,
         "num_dense_layers": 0},
        packed=True,
        matters=[{"norm_topk_prob": True}, {"routed_scaling_factor": 1.0}],
    ),
    _lfm2_moe(
        "around",
        "attention first and last, multi-query, rope_parameters, top 1, long prompts",
        {"layer_types": [_FULL, _CONV, _FULL], "num_key_value_heads": 1, "num_experts_per_tok": 1,
         "routed_scaling_factor": 2.0, "norm_topk_prob": False,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="BF16", prompts=(1, 7, 100),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10.0}},
                 {"num_experts_per_tok": 2}],
    ),
    _lfm2_moe(
        "odd",
        "a hidden width that no vector has, all of five experts, linear rope, the shortest prompts",
        {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 3, "num_experts": 5,
         "num_experts_per_tok": 5,
         "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}},
        prompts=(1, 2, 3, 33),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
    _lfm2_moe(
        "far",
        "yarn, convolutions over six rows on both sides, one dense layer of four",
        {"num_hidden_layers": 4, "layer_types": [_CONV, _FULL, _CONV, _CONV], "conv_L_cache": 6,
         "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

_lfm2 = variants_of("lfm2", BASE | {"num_hidden_layers": 3, "block_multiple_of": 8})

LFM2 = [
    _lfm2(
        "classic",
        "as released: numbers of the layers that attend, a width that is made smaller and rounded "
        "up, keys that say things again",
        {"full_attn_idxs": [1], "block_ff_dim": 50, "block_auto_adjust_ff_dim": True,
         "block_ffn_dim_multiplier": 1.0, "block_dim": 32, "conv_dim": 32, "conv_dim_out": 32,
         "num_heads": 4, "block_norm_eps": 1e-05, "norm_eps": 1e-05, "block_use_swiglu": True,
         "use_pos_enc": True, "block_mlp_init_scale": 1.0, "block_out_init_scale": 1.0,
         "block_use_xavier_init": True, "conv_use_xavier_init": True, "conv_L_cache": 3,
         "conv_bias": False, "rope_theta": 1000000.0},
        dtype="BF16",
        matters=[{"rope_theta": 10.0}, {"norm_eps": 0.1}],
    ),
    _lfm2(
        "as-it-is",
        "layer_types, the width as it stands there, biases, convolutions over four rows",
        {"layer_types": [_FULL, _CONV, _CONV], "intermediate_size": 20, "conv_bias": True,
         "block_auto_adjust_ff_dim": False, "conv_L_cache": 4, "tie_word_embeddings": False},
        dtype="F16", prompts=(1, 2, 3, 33),
        matters=[{"norm_eps": 0.1}],
    ),
    _lfm2(
        "multiplied",
        "a multiplied width, all layers but one with convolutions of two rows",
        {"layer_types": [_CONV, _CONV, _FULL], "intermediate_size": 30, "conv_L_cache": 2,
         "block_ffn_dim_multiplier": 1.3},
        prompts=(1, 7, 70),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10.0}}],
    ),
]

# As released; without them Granite multiplies by 1.
_MULTIPLIERS = {"attention_multiplier": 0.3, "embedding_multiplier": 0.7, "logits_scaling": 0.5,
                "residual_multiplier": 0.6}

_granite = variants_of("granitemoehybrid", BASE | _MULTIPLIERS | {
    "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"],
    "intermediate_size": 12, "shared_intermediate_size": 16, "num_local_experts": 6,
    "num_experts_per_tok": 2, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16,
    "mamba_expand": 2, "mamba_n_groups": 1, "mamba_chunk_size": 16})
_OTHER_HEADS = {"mamba_n_groups": 2, "mamba_d_state": 8}

GRANITE_HYBRID = [
    _granite(
        "classic",
        "as released: two state spaces, then attention without positions, one group, four "
        "multipliers, top 3 of 8, a tied head",
        {"layer_types": ["mamba", "mamba", "attention"],
         "num_local_experts": 8, "num_experts_per_tok": 3, "intermediate_size": 8,
         "embedding_multiplier": 3.0, "logits_scaling": 2.0, "attention_bias": False,
         "attention_dropout": 0.0, "hidden_act": "silu", "init_method": "mup",
         "mamba_conv_bias": True, "mamba_d_conv": 4,
         "mamba_proj_bias": False, "normalization_function": "rmsnorm",
         "position_embedding_type": "nope", "rms_norm_eps": 1e-05, "rope_scaling": None,
         "rope_theta": 10000, "router_aux_loss_coef": 0.0, "tie_word_embeddings": True,
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{key: 1.0} for key in _MULTIPLIERS]
        + [{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}, _OTHER_HEADS,
           {"position_embedding_type": "rope"}],
    ),
    _granite(
        "turning",
        "attention with positions and biases, new names of layers, two groups, heads as wide as is "
        "left, float16",
        {"layer_types": [_LINEAR, _FULL, _LINEAR], "position_embedding_type": "rope",
         "attention_bias": True, "mamba_n_groups": 2, "mamba_d_head": "auto", "mamba_d_state": 8},
        dtype="F16",
        matters=[{"position_embedding_type": None}, {"rope_parameters": {
            "rope_type": "default", "rope_theta": 10.0}},
            {"mamba_n_groups": 1, "mamba_d_state": 16}],
    ),
    _granite(
        "dense",
        "no experts, the network that they share alone, as Granite 4 H Micro",
        {"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "nope",
         "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"attention_multiplier": 1.0}, {"residual_multiplier": 1.0}, _OTHER_HEADS],
    ),
    _granite(
        "odd",
        "heads and states of widths that no vector has, three groups, three times the width, "
        "convolutions over three rows without biases, projections with them, gelu",
        {"hidden_size": 38, "num_attention_heads": 1, "num_key_value_heads": 1,
         "mamba_expand": 3, "mamba_n_heads": 6, "mamba_d_head": 19, "mamba_n_groups": 3,
         "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_conv_bias": False,
         "mamba_proj_bias": True, "hidden_act": "gelu"},
        prompts=(1, 2, 3, 33),
        matters=[{"hidden_act": "silu"}],
    ),
    _granite(
        "chunks",
        "prompts beyond chunks of 16 rows, wide heads, multi-query, top 1, attention first",
        {"layer_types": ["attention", "mamba", "mamba"], "mamba_n_heads": 1, "mamba_d_head": 64,
         "mamba_d_state": 24, "num_key_value_heads": 1, "num_experts_per_tok": 1,
         "embedding_multiplier": 1.0},
        dtype="BF16", prompts=(1, 7, 70, 140),
        matters=[{"rms_norm_eps": 0.1}, {"num_experts_per_tok": 2}],
    ),
    _granite(
        "attention",
        "no state space, as Granite 4 Micro: attention with positions in every layer, dense",
        {"layer_types": ["attention"] * 3, "num_local_experts": 0, "num_experts_per_tok": 0,
         "position_embedding_type": "rope"},
        matters=[{"position_embedding_type": "nope"}, {"logits_scaling": 1.0}],
    ),
]

_nemotron = variants_of("nemotron_h", BASE | {
    "head_dim": 8, "hybrid_override_pattern": "ME*E", "num_hidden_layers": 4,
    "intermediate_size": 20, "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 2,
    "ssm_state_size": 16, "n_routed_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 12, "moe_shared_expert_intermediate_size": 16, "chunk_size": 16})
_OTHER_SPACES = {"n_groups": 4, "ssm_state_size": 8}

NEMOTRON = [
    _nemotron(
        "classic",
        "as released (Nano): a pattern of state spaces, experts and attention without positions, "
        "top 3 of 8, weights times 2.5, a tensor of multi-token prediction",
        {"hybrid_override_pattern": "MEM*EME", "num_hidden_layers": 7, "n_routed_experts": 8,
         "num_experts_per_tok": 3, "attention_bias": False, "attention_dropout": 0.0,
         "conv_kernel": 4, "expand": 2, "hidden_dropout": 0.0,
         "layer_norm_epsilon": 1e-05, "mamba_hidden_act": "silu", "mamba_proj_bias": False,
         "mamba_ssm_cache_dtype": "float32", "mlp_bias": False, "mlp_hidden_act": "relu2",
         "n_group": 1, "n_shared_experts": 1, "norm_eps": 1e-05, "norm_topk_prob": True,
         "num_logits_to_keep": 1, "partial_rotary_factor": 1.0, "rescale_prenorm_residual": True,
         "residual_in_fp32": False, "rope_theta": 10000, "routed_scaling_factor": 2.5,
         "sliding_window": None, "tie_word_embeddings": False, "time_step_floor": 0.0001,
         "time_step_limit": [0.0, float("inf")], "time_step_max": 0.1, "time_step_min": 0.001,
         "topk_group": 1, "use_bias": False, "use_conv_bias": True, "use_mamba_kernels": True,
         "num_nextn_predict_layers": 1, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 2}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"layer_norm_epsilon": 0.1}, _OTHER_SPACES],
    ),
    _nemotron(
        "super",
        "experts on vectors of 20 (Super), groups of experts, layers in a list by old names",
        {"hybrid_override_pattern": DELETE,
         "layers_block_type": ["mamba", "moe", "attention", "moe"],
         "moe_latent_size": 20, "n_group": 3, "topk_group": 2, "num_experts_per_tok": 3,
         "routed_scaling_factor": 5.0},
        dtype="BF16",
        matters=[{"topk_group": 3}, {"n_group": 1, "topk_group": 1}, _OTHER_SPACES],
    ),
    _nemotron(
        "dense",
        "no experts (Nemotron-H): networks between state spaces, attention behind another, biases "
        "of networks and projections, float16",
        {"hybrid_override_pattern": "M-M*-", "num_hidden_layers": 5, "mlp_bias": True,
         "use_bias": True},
        dtype="F16",
        matters=[{"layer_norm_epsilon": 0.1}, {"mlp_hidden_act": "relu"}],
    ),
    _nemotron(
        "odd",
        "begins with experts, ends with attention, heads and states of widths that no vector has, "
        "three groups, convolutions over three rows without biases, weights as they are",
        {"layers_block_type": ["moe", _LINEAR, _LINEAR, "moe", _FULL],
         "hybrid_override_pattern": DELETE, "num_hidden_layers": 5, "mamba_num_heads": 6,
         "mamba_head_dim": 19, "n_groups": 3, "ssm_state_size": 5, "conv_kernel": 3,
         "use_conv_bias": False, "norm_topk_prob": False, "num_key_value_heads": 4},
        prompts=(1, 2, 3, 33),
        matters=[{"norm_topk_prob": True}],
    ),
    _nemotron(
        "chunks",
        "prompts beyond chunks of 16 rows, wide heads, one group, multi-query, latent experts with "
        "biases of their projections, silu, all experts chosen",
        {"hybrid_override_pattern": "*MEME", "num_hidden_layers": 5, "mamba_num_heads": 1,
         "mamba_head_dim": 80, "n_groups": 1, "ssm_state_size": 24, "num_key_value_heads": 1,
         "n_routed_experts": 4, "num_experts_per_tok": 4,
         "moe_latent_size": 16, "mlp_bias": True, "mlp_hidden_act": "silu"},
        dtype="BF16", prompts=(1, 7, 70, 140),
        matters=[{"mlp_hidden_act": "relu2"}],
    ),
    _nemotron(
        "mixed",
        "all four kinds of layers, dense networks beside experts, as many groups as heads, top 1",
        {"hybrid_override_pattern": "*-MEM-*E", "num_hidden_layers": 8, "mamba_num_heads": 4,
         "mamba_head_dim": 16, "n_groups": 4, "ssm_state_size": 8, "num_experts_per_tok": 1,
         "routed_scaling_factor": 1.5, "norm_topk_prob": False},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 2}, {"n_groups": 2, "ssm_state_size": 16}],
    ),
]

HYBRID = LFM2_MOE + LFM2 + GRANITE_HYBRID + NEMOTRON
