# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Ling 3."""

from .variant import BASE, DELETE, variants_of

# Latent heads of 12 + 8, values of 10; linear heads of 6. No width stands for another.
_LING = BASE | {
    "num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 14,
    "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10, "head_dim": 6,
    "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "num_experts_per_tok": 3, "pad_token_id": None,
}
# What Transformers writes in place of the authors' keys.
_SAVED = {key: DELETE for key in ("max_position_embeddings", "num_experts_per_tok")} | {
    "head_dim": 8, "linear_head_dim": 6, "linear_num_heads": 2, "linear_conv_kernel_dim": 4,
    "qk_head_dim": 20, "num_experts_per_token": 2, "model_max_length": 256,
}
_LINEAR, _FULL = "linear_attention", "full_attention"


def _ling(name, description, config, **kwargs):
    """Without what is deleted in changes, too."""
    changed = _LING | config
    kwargs["matters"] = [{key: value for key, value in change.items() if value != DELETE}
                         for change in kwargs["matters"]]
    return variants_of("bailing_hybrid", changed, "ling3")(name, description, {}, **kwargs)


def _yarn(factor, **other):
    return {"rope_type": "yarn", "rope_theta": 500.0, "factor": factor,
            "original_max_position_embeddings": 16, **other}


LING_3 = [
    _ling(
        "classic",
        "as released: the authors' architecture, keys and names, the last layer of four attends, "
        "the first is dense, 2 of 4 groups, limits of SwiGLU in late layers, a layer that predicts; "
        "bfloat16, sharded",
        {"architectures": ["BailingMoeV3ForCausalLM"], "num_hidden_layers": 4,
         "layer_group_size": 4, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2,
         "num_shared_experts": 1, "moe_shared_expert_intermediate_size": 8,
         "norm_topk_prob": True, "routed_scaling_factor": 2.5, "q_lora_rank": None,
         "qk_head_dim": 20, "rotary_dim": 8, "partial_rotary_factor": 0.5,
         "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 6000000.0,
                             "rope_type": "default"},
         "rope_theta": 6000000.0, "rope_interleave": True, "use_mla_nope": False,
         "gated_attention_proj_granularity_type": "head_wise", "short_conv_kernel_size": 4,
         "kda_safe_gate": True, "kda_lower_bound": -5.0, "no_kda_lora": True,
         "use_kda_lora": False, "linear_silu": True, "group_norm_size": 1,
         "num_kv_heads_for_linear_attn": 0, "use_qk_norm": True, "use_bias": False,
         "use_qkv_bias": False, "use_nGPT": False, "up_proj_norm": False, "value_norm": False,
         "score_function": "sigmoid", "scoring_func": "sigmoid", "topk_method": "noaux_tc",
         "router_dtype": "fp32", "scale_router_input": False, "seq_aux": True,
         "moe_router_enable_expert_bias": True, "num_nextn_predict_layers": 1,
         "mtp_loss_scaling_factor": 0, "mtp_use_kda": False, "max_window_layers": 20,
         "embedding_dropout": 0.0, "output_dropout": 0.0, "attention_dropout": 0.0,
         "expert_swiglu_limit_list": [0.0, 0.0, 0.4, 0.3, 0.0],
         "share_expert_swiglu_limit_list": [0.0, 0.5, 0.0, 0.4, 0.0],
         "rms_norm_eps": 1e-06, "hidden_act": "silu", "tie_word_embeddings": False,
         "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"expert_swiglu_limit_list": None}, {"share_expert_swiglu_limit_list": None},
                 {"topk_group": 4}, {"n_group": 2, "topk_group": 1}, {"num_experts_per_tok": 2},
                 {"routed_scaling_factor": 1.0}, {"norm_topk_prob": False},
                 {"kda_lower_bound": -1.0}, {"kda_safe_gate": False}, {"rms_norm_eps": 0.1}],
    ),
    _ling(
        "saved",
        "the keys and names that Transformers writes: layer_types that begin with a full layer, "
        "mlp_layer_types, prompts beyond a chunk of the parallel form",
        _SAVED | {
            "num_hidden_layers": 3, "layer_types": [_FULL, _LINEAR, _LINEAR],
            "mlp_layer_types": ["sparse", "dense", "sparse"], "num_shared_experts": 1,
            "num_expert_group": 2, "topk_group": 1, "moe_renormalize": True,
            "short_conv_kernel_size": 4, "kda_safe_gate": True, "kda_lower_bound": -5.0,
            "rope_theta": 100.0, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
            "pretraining_tp": 1, "mtp_loss_scaling_factor": 0.0, "num_nextn_predict_layers": 1},
        dtype="BF16", prompts=(1, 7, 70, 140),
        matters=[{"num_experts_per_token": 3}, {"moe_renormalize": False},
                 {"num_expert_group": 1, "topk_group": 1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 6000000.0}}],
    ),
    _ling(
        "unbounded",
        "decays without a bound, yarn with mscale_all_dim, which changes the scale of scores, "
        "queries of low rank, float16",
        {"num_hidden_layers": 4, "layer_group_size": 2, "first_k_dense_replace": 1,
         "kda_safe_gate": False, "q_lora_rank": 16, "n_group": 1, "topk_group": 1,
         "rope_parameters": _yarn(4.0, mscale=1.0, mscale_all_dim=1.0)},
        dtype="F16", prompts=(1, 7, 40, 90),
        matters=[{"kda_safe_gate": True}, {"rope_parameters": _yarn(4.0)},
                 {"rope_parameters": _yarn(2.0, mscale=1.0, mscale_all_dim=1.0)}],
    ),
    _ling(
        "groups",
        "two of four groups, two shared experts, weights as they are, biases of latent attention, "
        "all layers with experts, a convolution over two rows",
        {"num_hidden_layers": 2, "layer_group_size": 2, "first_k_dense_replace": 0,
         "n_group": 4, "topk_group": 2, "n_shared_experts": 2, "norm_topk_prob": False,
         "routed_scaling_factor": 1.5, "attention_bias": True, "q_lora_rank": 18,
         "short_conv_kernel_size": 2, "rope_theta": 500.0},
        dtype="BF16",
        matters=[{"topk_group": 4}, {"n_group": 2, "topk_group": 1}, {"norm_topk_prob": True},
                 {"routed_scaling_factor": 1.0}, {"rope_theta": 20.0}],
    ),
    _ling(
        "odd",
        "three heads of both kinds, linear ones of 10, values wider than keys, two dense layers, "
        "five experts of which one is chosen and none shared, gelu, also behind the convolution, a "
        "norm whose epsilon counts, float32",
        {"num_hidden_layers": 3, "layer_group_size": 3, "num_attention_heads": 3,
         "num_key_value_heads": None, "head_dim": 10, "v_head_dim": 24, "hidden_size": 24,
         "num_experts": DELETE, "num_local_experts": 5, "num_experts_per_tok": 1,
         "n_shared_experts": 0, "n_group": 1, "topk_group": 1, "kda_lower_bound": -1.5,
         "short_conv_kernel_size": 3, "hidden_act": "gelu", "rms_norm_eps": 0.05},
        matters=[{"kda_lower_bound": -5.0}, {"hidden_act": "silu"}, {"rms_norm_eps": 1e-05},
                 {"num_experts_per_tok": 2}],
    ),
    _ling(
        "limits",
        "limits of experts alone and of the shared one alone, by lists with nulls; float16",
        {"num_hidden_layers": 2, "layer_group_size": 2, "first_k_dense_replace": 0, "n_group": 1,
         "topk_group": 1, "expert_swiglu_limit_list": [0.2, None],
         "share_expert_swiglu_limit_list": [None, 0.3]},
        dtype="F16",
        matters=[{"expert_swiglu_limit_list": [0.4, None]},
                 {"share_expert_swiglu_limit_list": [0.3, 0.3]},
                 {"expert_swiglu_limit_list": None}, {"share_expert_swiglu_limit_list": None}],
    ),
    _ling(
        "defaults",
        "what can be left to its default: the sixth layer attends, two are dense, 4 of 8 groups, "
        "the bound of decays; sharded",
        {"num_hidden_layers": 6, "num_experts": 16, "num_experts_per_tok": DELETE,
         "moe_intermediate_size": 4, "intermediate_size": 12},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 24),
        matters=[{"routed_scaling_factor": 1.0}, {"topk_group": 8}, {"kda_lower_bound": -2.0},
                 {"num_experts_per_tok": 3}, {"rope_theta": 10.0}, {"norm_topk_prob": False}],
    ),
]
