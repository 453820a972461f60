# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Arcee Trinity, K-EXAONE, Solar Open and Hunyuan 3."""

from .variant import BASE, DELETE, variants_of


def _yarn(factor, theta=10000.0, **more):
    return {"rope_type": "yarn", "rope_theta": theta, "factor": factor,
            "original_max_position_embeddings": 32} | more


_SLIDING, _FULL = "sliding_attention", "full_attention"

_SPARSE = BASE | {"head_dim": 8, "intermediate_size": 20, "moe_intermediate_size": 8,
                  "num_experts": 8, "num_experts_per_tok": 2}


_afmoe = variants_of("afmoe", _SPARSE)

AFMOE = [
    _afmoe(
        "classic",
        "as Trinity Mini is released: windows but for every fourth layer, scaled embeddings, two "
        "dense layers, one shared expert",
        {"num_hidden_layers": 4, "global_attn_every_n_layers": 4, "sliding_window": 12,
         "mup_enabled": True, "num_dense_layers": 2, "num_shared_experts": 1, "route_scale": 2.826,
         "route_norm": True, "score_func": "sigmoid", "n_group": 1, "topk_group": 1,
         "num_expert_groups": 1, "num_limited_groups": 1, "load_balance_coeff": 0.001,
         "use_grouped_mm": True, "hidden_act": "silu", "rope_theta": 10000, "rope_scaling": None,
         "rms_norm_eps": 1e-05, "attention_dropout": 0.0, "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"mup_enabled": False}, {"sliding_window": 13}, {"route_scale": 1.0},
                 {"num_experts_per_tok": 3}, {"global_attn_every_n_layers": 5},
                 {"rope_theta": 100}],
    ),
    _afmoe(
        "defaults",
        "what can be left to its default: as many key heads as heads, two shared experts",
        {"num_key_value_heads": DELETE, "num_experts_per_tok": 3, "num_experts": 6},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 2}, {"mup_enabled": True}, {"rms_norm_eps": 0.1}],
    ),
    _afmoe(
        "layer-types",
        "layer_types decide, all layers sparse, packed, gelu",
        {"num_hidden_layers": 3, "layer_types": [_FULL, _SLIDING, _FULL], "sliding_window": 7,
         "num_dense_layers": 0, "hidden_act": "gelu", "rope_theta": 100.0},
        packed=True,
        matters=[{"layer_types": [_FULL, _SLIDING, _SLIDING]}, {"sliding_window": 8},
                 {"hidden_act": "silu"}],
    ),
    _afmoe(
        "bias",
        "biases of q, k, v and output, tied embeddings, a global layer every two, float16, sharded",
        {"attention_bias": True, "tie_word_embeddings": True, "global_attn_every_n_layers": 2,
         "sliding_window": 9, "num_hidden_layers": 4, "num_shared_experts": 3},
        dtype="F16", shard_bytes=40000,
        matters=[{"global_attn_every_n_layers": 3}, {"sliding_window": 10}],
    ),
    _afmoe(
        "yarn",
        "yarn, one key head, heads of 16, relu, every layer with a window",
        {"num_key_value_heads": 1, "head_dim": 16, "hidden_act": "relu", "sliding_window": 20,
         "num_dense_layers": 1, "route_scale": 0.5, "rope_parameters": _yarn(4.0)},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default"}}, {"route_scale": 1.0},
                 {"hidden_act": "silu"}],
    ),
    _afmoe(
        "all-full",
        "no layer has a window, so nothing is rotated; top 1",
        {"layer_types": [_FULL, _FULL], "num_experts_per_tok": 1, "num_key_value_heads": 4,
         "rms_norm_eps": 0.01, "mup_enabled": True, "num_shared_experts": 1},
        matters=[{"layer_types": [_SLIDING, _FULL]}, {"num_experts_per_tok": 2},
                 {"rms_norm_eps": 1e-5}],
    ),
]

_exaone = variants_of("exaone_moe", BASE | {
    "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "num_experts_per_tok": 2, "pad_token_id": None
})

EXAONE = [
    _exaone(
        "classic",
        "as released: three windows and one full layer, which is not rotated; one dense layer; "
        "tensors of multi-token prediction",
        {"num_hidden_layers": 4, "head_dim": 8, "sliding_window": 12,
         "layer_types": [_SLIDING, _SLIDING, _SLIDING, _FULL], "sliding_window_pattern": "LLLG",
         "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "first_k_dense_replace": 1,
         "num_shared_experts": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
         "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
         "num_nextn_predict_layers": 1, "hidden_act": "silu", "rms_norm_eps": 1e-05,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
         "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"sliding_window": 13}, {"routed_scaling_factor": 1.0},
                 {"layer_types": [_SLIDING] * 4}, {"norm_topk_prob": False}],
    ),
    _exaone(
        "defaults",
        "what can be left to its default: every fourth layer sees all, weights times 2.5",
        {"num_hidden_layers": 4, "sliding_window": 9},
        dtype="BF16",
        matters=[{"sliding_window_pattern": 2}, {"sliding_window": 10},
                 {"num_experts_per_tok": 3}],
    ),
    _exaone(
        "all-sliding",
        "all layers rotate and have a window; every layer sparse, weights not normalised",
        {"sliding_window": 11, "layer_types": [_SLIDING, _SLIDING], "first_k_dense_replace": 0,
         "norm_topk_prob": False, "num_key_value_heads": 1, "head_dim": 12},
        matters=[{"sliding_window": 64}, {"norm_topk_prob": True}],
    ),
    _exaone(
        "unrotated",
        "a window that no layer uses: nothing rotates; two shared experts, packed, gelu",
        {"sliding_window": 64, "layer_types": [_FULL, _FULL], "num_shared_experts": 2,
         "hidden_act": "gelu", "num_experts_per_tok": 3, "rms_norm_eps": 0.01},
        packed=True,
        matters=[{"layer_types": [_SLIDING, _FULL]}, {"hidden_act": "silu"},
                 {"rms_norm_eps": 1e-5}],
    ),
    _exaone(
        "groups",
        "one of two groups, dense in the middle, whatever first_k_dense_replace says, tied, float16, "
        "sharded",
        {"num_hidden_layers": 3, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
         "mlp_layer_types": ["sparse", "dense", "sparse"], "tie_word_embeddings": True,
         "sliding_window_pattern": 2, "sliding_window": 10, "routed_scaling_factor": 0.75},
        dtype="F16", shard_bytes=40000,
        matters=[{"topk_group": 2}, {"routed_scaling_factor": 1.0},
                 {"sliding_window_pattern": 3}],
    ),
    _exaone(
        "yarn",
        "yarn, heads of 16, as many key heads as heads, relu",
        {"head_dim": 16, "num_key_value_heads": 4, "hidden_act": "relu", "sliding_window": 30,
         "rope_parameters": _yarn(4.0)},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                 {"hidden_act": "silu"}],
    ),
]

_solar = variants_of("solar_open", BASE | {
    "head_dim": 8, "moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 2
})

SOLAR = [
    _solar(
        "classic",
        "as released: a shared expert, yarn, keys of dense layers that there are none of",
        {"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
         "routed_scaling_factor": 1.0, "first_k_dense_replace": 0, "intermediate_size": 20,
         "use_qk_norm": False, "partial_rotary_factor": 1.0, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 1000000,
         "rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32},
         "tie_word_embeddings": False},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_scaling": None}, {"norm_topk_prob": False}, {"num_experts_per_tok": 3}],
    ),
    _solar(
        "defaults",
        "what can be left to its default",
        {"n_routed_experts": 6, "num_experts_per_tok": 3},
        dtype="BF16",
        matters=[{"routed_scaling_factor": 2.0}, {"rope_theta": 100.0}],
    ),
    _solar(
        "groups",
        "two of four groups, weights times 1.5, three layers, sharded",
        {"num_hidden_layers": 3, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.5},
        shard_bytes=30000,
        matters=[{"topk_group": 4}, {"routed_scaling_factor": 1.0}],
    ),
    _solar(
        "bias",
        "biases of q, k and v, tied embeddings, two shared experts, float16",
        {"attention_bias": True, "tie_word_embeddings": True, "n_shared_experts": 2,
         "hidden_act": "gelu"},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 0.1}],
    ),
    _solar(
        "packed",
        "experts in one tensor, weights not normalised, heads of 12, one key head",
        {"norm_topk_prob": False, "head_dim": 12, "num_key_value_heads": 1,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.5}},
        packed=True,
        matters=[{"norm_topk_prob": True},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _solar(
        "dynamic",
        "dynamic NTK beyond the first context, relu, as many key heads as heads",
        {"hidden_act": "relu", "num_key_value_heads": 4, "max_position_embeddings": 40,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}},
        dtype="BF16", prompts=(1, 7, 40, 70), greedy_prompt=30,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"hidden_act": "silu"}],
    ),
]

_hunyuan = variants_of("hy_v3", _SPARSE)

HUNYUAN_3 = [
    _hunyuan(
        "classic",
        "one dense layer, one shared expert, a layer of multi-token prediction",
        {"num_hidden_layers": 3, "num_shared_experts": 1, "router_scaling_factor": 2.826,
         "enable_moe_fp32_combine": True, "num_nextn_predict_layers": 1, "hidden_act": "silu",
         "mlp_layer_types": ["dense", "sparse", "sparse"], "rms_norm_eps": 1e-05,
         "rope_parameters": {"rope_type": "default", "rope_theta": 11158840.0},
         "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"router_scaling_factor": 1.0}, {"num_experts_per_tok": 3},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _hunyuan(
        "defaults",
        "what can be left to its default: the first layer dense, weights times 2.826",
        {"num_experts_per_tok": 3, "num_experts": 6},
        dtype="BF16",
        matters=[{"router_scaling_factor": 1.0}, {"rms_norm_eps": 0.1}],
    ),
    _hunyuan(
        "bias",
        "biases of attention, dense and shared network, tied embeddings, float16",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
         "hidden_act": "gelu", "num_shared_experts": 2},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"router_scaling_factor": 1.0}],
    ),
    _hunyuan(
        "layer-types",
        "dense in the middle, one key head, heads of 12, sharded",
        {"num_hidden_layers": 3, "mlp_layer_types": ["sparse", "dense", "sparse"],
         "num_key_value_heads": 1, "head_dim": 12, "rope_theta": 1000.0},
        shard_bytes=30000,
        matters=[{"rope_theta": 10.0}, {"num_experts_per_tok": 1}],
    ),
    _hunyuan(
        "top-1",
        "top 1, relu, every layer sparse, an eps that shows, linear rope",
        {"num_experts_per_tok": 1, "hidden_act": "relu", "rms_norm_eps": 0.05,
         "mlp_layer_types": ["sparse", "sparse"],
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}},
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 1e-5},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _hunyuan(
        "yarn",
        "yarn, heads of 16, as many key heads as heads",
        {"head_dim": 16, "num_key_value_heads": 4, "rope_parameters": _yarn(4.0, 100.0)},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

SIGMOID = [*AFMOE, *EXAONE, *SOLAR, *HUNYUAN_3]
