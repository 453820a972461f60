# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Kimi Linear."""

from .variant import BASE, variants_of

# Latent heads of 12 + 8, values of 10; linear heads of 8. No width stands for another.
_KIMI = {key: value for key, value in BASE.items() if key != "max_position_embeddings"} | {
    "num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 14,
    "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10, "intermediate_size": 20,
    "moe_intermediate_size": 8, "pad_token_id": None,
}
_LINEAR, _FULL = "linear_attention", "full_attention"

_kimi = variants_of("kimi_linear", _KIMI)


def _lists(full, linear, heads=4, dim=8, kernel=4):
    return {"linear_attn_config": {"full_attn_layers": full, "kda_layers": linear,
                                   "num_heads": heads, "head_dim": dim,
                                   "short_conv_kernel_size": kernel}}


KIMI_LINEAR = [
    _kimi(
        "classic",
        "as released: the authors' keys, every fourth layer attends, the first is dense, top 3 of "
        "8 beside a shared expert; bfloat16, sharded",
        _lists([4], [1, 2, 3]) | {
            "num_hidden_layers": 4, "first_k_dense_replace": 1, "num_experts": 8,
            "num_experts_per_token": 3, "num_shared_experts": 1, "num_expert_group": 1,
            "topk_group": 1, "moe_renormalize": True, "routed_scaling_factor": 2.446,
            "moe_router_activation_func": "sigmoid", "moe_layer_freq": 1, "mla_use_nope": True,
            "use_grouped_topk": True, "num_nextn_predict_layers": 0, "head_dim": 72,
            "model_max_length": 256, "q_lora_rank": None, "rope_scaling": None,
            "rope_theta": 10000.0, "rms_norm_eps": 1e-05, "hidden_act": "silu",
            "tie_word_embeddings": False, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"num_experts_per_token": 2}, {"routed_scaling_factor": 1.0},
                 {"moe_renormalize": False}, {"rms_norm_eps": 0.1}],
    ),
    _kimi(
        "listed",
        "keys and names of Transformers: layer_types that begin with a full layer, mlp_layer_types, "
        "prompts beyond a chunk of the parallel form",
        {"num_hidden_layers": 3, "layer_types": [_FULL, _LINEAR, _LINEAR],
         "mlp_layer_types": ["sparse", "dense", "sparse"], "linear_num_heads": 4,
         "linear_head_dim": 8, "linear_conv_kernel_dim": 4, "num_local_experts": 6,
         "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "norm_topk_prob": True,
         "max_position_embeddings": 256, "transformers_version": "5.24.0"},
        dtype="BF16", prompts=(1, 7, 70, 140),
        matters=[{"num_experts_per_tok": 3}, {"norm_topk_prob": False}],
    ),
    _kimi(
        "groups",
        "two of four groups, two shared experts, weights not normalised, all layers with experts, "
        "a convolution over two rows",
        _lists([2], [1, 3], kernel=2) | {
            "num_hidden_layers": 3, "first_k_dense_replace": 0, "num_experts": 8,
            "num_experts_per_token": 2, "num_shared_experts": 2, "num_expert_group": 4,
            "topk_group": 2, "moe_renormalize": False, "routed_scaling_factor": 1.5},
        dtype="BF16",
        matters=[{"topk_group": 4}, {"num_expert_group": 2, "topk_group": 1},
                 {"moe_renormalize": True}, {"routed_scaling_factor": 1.0}],
    ),
    _kimi(
        "latent",
        "queries of low rank, biases of attention, gelu, also behind the convolution; float16",
        _lists([1, 3], [2]) | {
            "num_hidden_layers": 3, "q_lora_rank": 16, "attention_bias": True,
            "hidden_act": "gelu", "num_experts": 6, "num_experts_per_token": 2,
            "num_key_value_heads": None},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"num_experts_per_token": 1}],
    ),
    _kimi(
        "odd",
        "three linear heads of 10, five latent ones, two dense layers, five experts, float32",
        _lists([3], [1, 2], heads=3, dim=10, kernel=3) | {
            "num_hidden_layers": 3, "num_attention_heads": 5, "num_key_value_heads": 5,
            "first_k_dense_replace": 2, "num_experts": 5, "num_experts_per_token": 2,
            "hidden_size": 24, "rms_norm_eps": 0.05},
        matters=[{"rms_norm_eps": 1e-05}, {"num_experts_per_token": 3}],
    ),
    _kimi(
        "default",
        "which layers attend left to its default: the fifth of six; sharded",
        {"linear_attn_config": {"num_heads": 2, "head_dim": 16, "short_conv_kernel_size": 4},
         "num_hidden_layers": 6, "num_experts": 4, "num_experts_per_token": 2, "hidden_size": 24},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"routed_scaling_factor": 1.0}, {"num_experts_per_token": 3}],
    ),
]
