# SPDX-License-Identifier: Apache-2.0
"""The golden variants of families of 2026 whose layers are of two kinds, with and without a window:
Laguna, Mellum 2, Cohere 2 with experts, Granite Swash and Step-3.7-Flash."""

from .variant import BASE, DELETE, Variant, variants_of

_WINDOW = {"num_hidden_layers": 3, "sliding_window": 8,
           "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]}


def _ropes(full, local, part=1.0, local_part=1.0, **other):
    """Rotations of layers that see everything, with other keys, and of those with a window."""
    return {"full_attention": {"rope_type": "default", "rope_theta": full,
                               "partial_rotary_factor": part} | other,
            "sliding_attention": {"rope_type": "default", "rope_theta": local,
                                  "partial_rotary_factor": local_part}}


def _yarn(full, local, part=1.0, **other):
    return _ropes(full, local, part, rope_type="yarn", factor=8.0, beta_fast=64.0, beta_slow=1.0,
                  original_max_position_embeddings=16, **other)


_laguna = variants_of("laguna", BASE | _WINDOW | {
    "head_dim": 12, "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "shared_expert_intermediate_size": 10, "num_experts_per_tok": 3,
    "rope_parameters": _ropes(5000.0, 100.0, 0.5),
})

LAGUNA = [
    _laguna(
        "classic",
        "as released: six heads in windows and four elsewhere, yarn for half a head with a factor of "
        "attention, a gate per head, the first layer dense, bfloat16, sharded",
        {"num_attention_heads_per_layer": [4, 6, 6], "gating": "per-head",
         "mlp_layer_types": ["dense", "sparse", "sparse"], "mlp_only_layers": [0],
         "decoder_sparse_step": 1, "norm_topk_prob": True, "moe_routed_scaling_factor": 2.5,
         "moe_apply_router_weight_on_input": False, "moe_router_logit_softcapping": 0.0,
         "attention_bias": False, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "tie_word_embeddings": False, "dtype": "bfloat16",
         "rope_parameters": _yarn(5000.0, 100.0, 0.5, attention_factor=1.3)},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 16}, {"moe_routed_scaling_factor": 1.0},
                 {"rope_parameters": _yarn(5000.0, 100.0, 0.5)},
                 {"rope_parameters": _ropes(5000.0, 100.0, 0.5)},
                 {"moe_router_logit_softcapping": 1.0}, {"num_experts_per_tok": 2}],
    ),
    _laguna(
        "per-element",
        "a gate for each number of a head, capped logits of the router, two dense layers, tied, "
        "gelu",
        {"gating": "per-element", "moe_router_logit_softcapping": 1.5, "hidden_act": "gelu",
         "mlp_layer_types": ["dense", "sparse", "dense"], "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"moe_router_logit_softcapping": 0.0}, {"hidden_act": "silu"},
                 {"moe_router_logit_softcapping": 3.0}],
    ),
    _laguna(
        "defaults",
        "no kinds of layers, heads, gate or rotations named: all see everything and rotate half of a "
        "head, the first is dense; float16",
        {"layer_types": DELETE, "rope_parameters": DELETE, "sliding_window": DELETE,
         "num_hidden_layers": 2, "gating": True},
        dtype="F16",
        matters=[{"rope_parameters": {"full_attention": {"rope_type": "default",
                                                         "rope_theta": 5e5}}},
                 {"moe_routed_scaling_factor": 2.0}],
    ),
    _laguna(
        "bias",
        "biases of q, k, v and the output, multi-query, fewer heads in windows, an eps that counts, "
        "no dense layer",
        {"attention_bias": True, "num_key_value_heads": 1, "rms_norm_eps": 0.05,
         "num_attention_heads_per_layer": [5, 2, 3], "num_attention_heads": 5,
         "mlp_layer_types": ["sparse"] * 3, "num_experts": 6, "num_experts_per_tok": 2},
        matters=[{"rms_norm_eps": 1e-06}, {"sliding_window": 4}],
    ),
    _laguna(
        "windows",
        "windows of 3 everywhere, rotations of a third of a head; float16, sharded",
        {"layer_types": ["sliding_attention"] * 2, "num_hidden_layers": 2, "sliding_window": 3,
         "mlp_layer_types": ["sparse", "sparse"],
         "rope_parameters": {"sliding_attention":
                             _ropes(1.0, 500.0, local_part=0.334)["sliding_attention"]}},
        dtype="F16", shard_bytes=30000,
        matters=[{"sliding_window": 6},
                 {"rope_parameters": {"sliding_attention":
                                      _ropes(1.0, 500.0)["sliding_attention"]}}],
    ),
    _laguna(
        "linear",
        "linear rotations where everything is seen, top 1 of 8, whose weight is 1, scaled",
        {"num_experts_per_tok": 1, "moe_routed_scaling_factor": 0.7,
         "rope_parameters": _ropes(1000.0, 100.0, 0.5, rope_type="linear", factor=4.0)},
        dtype="BF16",
        matters=[{"moe_routed_scaling_factor": 1.0}, {"num_experts_per_tok": 2},
                 {"rope_parameters": _ropes(1000.0, 100.0, 0.5)}],
    ),
]

_mellum = variants_of("mellum", BASE | _WINDOW | {
    "head_dim": 12, "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "num_experts_per_tok": 3, "rope_parameters": _ropes(5000.0, 100.0),
})

MELLUM = [
    _mellum(
        "classic",
        "as released: windows of 8 in two of three layers, yarn elsewhere, bfloat16, sharded",
        {"mlp_layer_types": ["sparse"] * 3, "norm_topk_prob": True, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "tie_word_embeddings": False,
         "max_window_layers": 28, "rope_parameters": _yarn(5000.0, 100.0)},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 16}, {"norm_topk_prob": False},
                 {"rope_parameters": _ropes(5000.0, 100.0)},
                 {"rope_parameters": _yarn(5000.0, 5000.0)}],
    ),
    _mellum(
        "packed",
        "packed, one dense layer, linear rotations where everything is seen; weights not normalised",
        {"mlp_layer_types": ["sparse", "dense", "sparse"], "norm_topk_prob": False,
         "rope_parameters": _ropes(5000.0, 100.0, rope_type="linear", factor=4.0)},
        dtype="F16", packed=True,
        matters=[{"norm_topk_prob": True}, {"rope_parameters": _ropes(5000.0, 100.0)}],
    ),
    _mellum(
        "defaults",
        "no kinds of layers and no rotations named: all see everything",
        {"layer_types": DELETE, "rope_parameters": DELETE, "num_hidden_layers": 2,
         "attention_bias": True, "tie_word_embeddings": True, "rms_norm_eps": 0.05},
        matters=[{"rms_norm_eps": 1e-06},
                 {"rope_parameters": {"full_attention": {"rope_type": "default",
                                                         "rope_theta": 100.0}}}],
    ),
]

_cohere = variants_of("cohere2_moe", BASE | {
    "head_dim": 12, "intermediate_size": 10, "num_experts": 8, "num_experts_per_tok": 3,
    "sliding_window": 8, "num_hidden_layers": 3, "pad_token_id": None, "logit_scale": 0.25,
})

COHERE = [
    _cohere(
        "classic",
        "as released: RMSNorm, sigmoids not normalised, one dense layer without a window that "
        "rotates, one without a window that does not, bfloat16, sharded",
        {"rms_norm_eps": 1e-05, "expert_selection_fn": "sigmoid", "norm_topk_prob": False,
         "first_k_dense_replace": 1, "prefix_dense_intermediate_size": 20,
         "prefix_dense_sliding_window_pattern": 1, "sliding_window_pattern": 2,
         "num_shared_experts": 0, "hidden_act": "silu", "attention_bias": False,
         "rope_theta": 5000.0, "logit_scale": 1.0, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40),
        matters=[{"norm_topk_prob": True}, {"expert_selection_fn": "softmax"},
                 {"sliding_window": 16}, {"rms_norm_eps": 0.1}, {"rms_norm_eps": None},
                 {"prefix_dense_sliding_window_pattern": 2}, {"rope_theta": 100.0},
                 {"logit_scale": 0.5}],
    ),
    _cohere(
        "shared",
        "LayerNorm, softmax over the chosen, the mean with two shared experts, keys of Transformers, "
        "packed, float16",
        {"num_shared_experts": 2, "layer_norm_eps": 0.05, "rms_norm_eps": None,
         "shared_expert_combination_strategy": "average", "expert_selection_fn": "softmax",
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
         "mlp_layer_types": ["sparse"] * 3, "tie_word_embeddings": True,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        dtype="F16", packed=True,
        matters=[{"shared_expert_combination_strategy": "sum"}, {"layer_norm_eps": 1e-05},
                 {"sliding_window": 16}, {"logit_scale": 0.5},
                 {"expert_selection_fn": "sigmoid"}],
    ),
    _cohere(
        "sum",
        "the sum with one shared expert, sigmoids normalised, biases, two dense layers with windows "
        "by rule, gelu",
        {"num_shared_experts": 1, "shared_expert_combination_strategy": "sum",
         "expert_selection_fn": "sigmoid", "attention_bias": True, "num_hidden_layers": 4,
         "first_k_dense_replace": 2, "prefix_dense_sliding_window_pattern": 2,
         "sliding_window_pattern": 2, "hidden_act": "gelu", "prefix_dense_intermediate_size": 16},
        dtype="BF16",
        matters=[{"shared_expert_combination_strategy": "average"}, {"norm_topk_prob": False},
                 {"hidden_act": "silu"}, {"sliding_window_pattern": 4}],
    ),
    _cohere(
        "defaults",
        "few keys: LayerNorm, as many heads of keys as of queries, every fourth of five layers "
        "without a window, its own scale of logits",
        {"num_hidden_layers": 5, "num_key_value_heads": DELETE, "logit_scale": DELETE,
         "num_experts": 4, "num_experts_per_tok": 2},
        matters=[{"sliding_window": 16}, {"logit_scale": 0.1}, {"rope_theta": 100.0}],
    ),
    _cohere(
        "untied",
        "a head of its own, one dense layer of the experts' width, multi-query, linear rotations; "
        "float16, sharded",
        {"tie_word_embeddings": False, "num_key_value_heads": 1, "first_k_dense_replace": 1,
         "rms_norm_eps": 1e-06, "rope_parameters": {"rope_type": "linear", "factor": 4.0,
                                                    "rope_theta": 500.0}},
        dtype="F16", shard_bytes=20000,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
                 {"sliding_window": 3}],
    ),
    _cohere(
        "full",
        "no layer with a window: only the dense one rotates; RMSNorm, top 1",
        {"layer_types": ["full_attention"] * 3, "mlp_layer_types": ["dense", "sparse", "sparse"],
         "rms_norm_eps": 1e-05, "num_experts_per_tok": 1, "expert_selection_fn": "sigmoid",
         "norm_topk_prob": False, "rope_theta": 500.0},
        dtype="BF16",
        matters=[{"rope_theta": 100.0}, {"prefix_dense_sliding_window_pattern": 2},
                 {"norm_topk_prob": True}],
    ),
]

_swash = variants_of("granitemoe_swa", BASE | {
    "num_hidden_layers": 3, "intermediate_size": 8, "num_local_experts": 8, "sliding_window": 8,
    "num_experts_per_tok": 3, "embedding_multiplier": 3.0, "attention_multiplier": 0.3,
    "residual_multiplier": 0.7, "logits_scaling": 1.5, "pad_token_id": None,
})

SWASH = [
    _swash(
        "classic",
        "as released: windows of 8 but for the first layer, which does not rotate, sinks in all, "
        "experts in one tensor, bfloat16, sharded",
        {"layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
         "layer_rope_theta": [0, 5000.0, 5000.0], "rope_theta": 10000.0,
         "shared_intermediate_size": 0, "attention_bias": False, "hidden_act": "silu",
         "rms_norm_eps": 1e-05, "tie_word_embeddings": True, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 16}, {"layer_rope_theta": [5000.0] * 3},
                 {"layer_rope_theta": None}, {"attention_multiplier": 0.1},
                 {"residual_multiplier": 1.0}, {"logits_scaling": 1.0},
                 {"embedding_multiplier": 1.0}],
    ),
    _swash(
        "two-bases",
        "two bases of rotations and a layer without, a shared expert, biases; float16",
        {"layer_rope_theta": [100.0, 5000.0, 0], "shared_intermediate_size": 12,
         "attention_bias": True, "num_experts_per_tok": 2},
        dtype="F16",
        matters=[{"layer_rope_theta": [5000.0, 100.0, 0]}, {"layer_rope_theta": [100.0] * 3}],
    ),
    _swash(
        "defaults",
        "five layers of which the first and the fifth see everything by rule and all rotate alike; "
        "one tensor per expert",
        {"num_hidden_layers": 5, "rope_theta": 500.0, "num_local_experts": 6},
        matters=[{"sliding_window": 16}, {"rope_theta": 100.0}],
    ),
]

_STEP_TEXT = BASE | _WINDOW | {
    "model_type": "step3p5", "num_attention_groups": 2, "head_dim": 12, "intermediate_size": 20,
    "moe_intermediate_size": 8, "moe_num_experts": 8, "moe_top_k": 3, "share_expert_dim": 10,
    "tie_word_embeddings": False,
}
del _STEP_TEXT["num_key_value_heads"]
_STEP_VISION = {"model_type": "step3p5_vision", "hidden_size": 16, "mlp_ratio": 1.0,
                "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 2,
                "max_position_embeddings": 16}


def _step(name, description, text, **kwargs):
    """`matters` names changes of the text model."""
    text = {key: value for key, value in (_STEP_TEXT | text).items() if value != DELETE}
    config = {"text_config": text, "vision_config": _STEP_VISION, "image_token_id": 196,
              "projector_bias": False, "tie_word_embeddings": False}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"step3p7-{name}", "step3p7", description, config, **kwargs)


_LLAMA3 = {"rope_type": "llama3", "factor": 2.0, "original_max_position_embeddings": 32,
           "low_freq_factor": 1.0, "high_freq_factor": 32.0}
_OTHER = {"attention_type": "sliding_attention", "num_attention_heads": 6,
          "num_attention_groups": 2, "head_dim": 12, "true_head_dim": 12}

STEP = [
    _step(
        "classic",
        "as released: lists that go on for three layers of prediction, six heads in windows, llama3 "
        "rotations of half a head elsewhere, two limits of SwiGLU, bfloat16, sharded",
        {"layer_types": _WINDOW["layer_types"] + ["sliding_attention"] * 3,
         "num_nextn_predict_layers": 3, "moe_layers_enum": "1,2",
         "attention_other_setting": _OTHER, "rope_theta": [5000.0] + [100.0] * 5,
         "partial_rotary_factors": [0.5] + [1.0] * 5, "rope_scaling": _LLAMA3,
         "yarn_only_types": ["full_attention"], "use_rope_layers": [],
         "moe_router_scaling_factor": 3.0, "moe_router_activation": "sigmoid",
         "norm_expert_weight": True, "use_moe_router_bias": True, "use_qk_norm": True,
         "use_moe": True, "use_head_wise_attn_gate": True, "need_fp32_gate": True, "sink": False,
         "zero_centered": True, "att_impl_type": "GQA", "moe_every_n_layer": 1,
         "moe_layer_offset": 0, "max_seq_len": 256, "rms_norm_eps": 1e-05,
         "swiglu_limits": [0.0, 0.0, 0.5, 0.0, 0.0, 0.0],
         "swiglu_limits_shared": [0.0, 0.4, 0.0, 0.0, 0.0, 0.0]},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"swiglu_limits": None}, {"swiglu_limits_shared": None},
                 {"sliding_window": 16}, {"rope_scaling": None},
                 {"moe_router_scaling_factor": 1.0}, {"moe_top_k": 2},
                 {"rope_theta": [5000.0] * 6}, {"partial_rotary_factors": [1.0] * 6}],
    ),
    _step(
        "defaults",
        "five layers that see everything, experts from the fourth on by rule, float16",
        {"num_hidden_layers": 5, "layer_types": DELETE,
         "num_attention_groups": DELETE, "num_key_value_heads": 1},
        dtype="F16",
        matters=[{"rope_theta": 100.0}, {"moe_router_scaling_factor": 2.0}],
    ),
    _step(
        "limits",
        "limits in the dense layer and in both others, a scale of scores of its own, layers named by "
        "kind, biases",
        {"mlp_layer_types": ["dense", "sparse", "sparse"], "query_pre_attn_scalar": 5.0,
         "num_sliding_attention_heads": 2, "attention_bias": True, "rms_norm_eps": 0.05,
         "swiglu_limits": [None, 0.3, 0.6], "swiglu_limits_shared": [0.5, 0.3, None],
         "rope_parameters": _ropes(500.0, 100.0, 0.5)},
        matters=[{"swiglu_limits": [None, 0.6, 0.3]}, {"query_pre_attn_scalar": 12},
                 {"swiglu_limits_shared": [None, 0.3, None]}, {"rms_norm_eps": 1e-05},
                 {"rope_parameters": _ropes(500.0, 500.0, 0.5)}],
    ),
    _step(
        "mixed",
        "the first of four layers with experts and a window, a list of layers, three heads of keys; "
        "float16, sharded",
        {"num_hidden_layers": 4, "moe_layers_enum": [0, 2], "num_attention_groups": 3,
         "num_attention_heads": 6, "num_sliding_attention_heads": 3, "sliding_window": 3,
         "layer_types": ["sliding_attention", "full_attention"] * 2, "moe_top_k": 1,
         "rope_theta": 500.0, "partial_rotary_factors": [1.0, 0.5, 1.0, 0.5]},
        dtype="F16", shard_bytes=30000,
        matters=[{"sliding_window": 6}, {"moe_top_k": 2},
                 {"partial_rotary_factors": [0.5, 0.5, 0.5, 0.5]}],
    ),
    _step(
        "yarn",
        "yarn where everything is seen, multi-head, top 4 of 6, no layer without experts",
        {"moe_layers_enum": "0,1,2", "num_attention_groups": 4, "moe_num_experts": 6,
         "moe_top_k": 4, "moe_router_scaling_factor": 0.5, "rope_theta": [500.0, 100.0, 100.0],
         "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
                          "original_max_position_embeddings": 16}},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"rope_scaling": None}, {"moe_router_scaling_factor": 1.0}],
    ),
    _step(
        "windows",
        "windows everywhere, all with experts, limits in one layer",
        {"layer_types": ["sliding_attention"] * 2, "num_hidden_layers": 2, "moe_layers_enum": "0,1",
         "num_attention_groups": 1, "swiglu_limits": [0.4, 0.0], "rope_theta": 500.0},
        matters=[{"swiglu_limits": [0.0, 0.4]}, {"sliding_window": 16}],
    ),
]

WINDOWS = [*COHERE, *LAGUNA, *MELLUM, *STEP, *SWASH]
