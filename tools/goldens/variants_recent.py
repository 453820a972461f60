# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the families in families_recent.py."""

from .variant import BASE, DELETE, variants_of

_gpt_oss = variants_of("gpt_oss", BASE | {
    "head_dim": 8, "intermediate_size": 10, "num_local_experts": 6,
    "num_experts_per_tok": 2, "sliding_window": 12
}, packed=True)

_glm4_moe = variants_of("glm4_moe", BASE | {
    "head_dim": 8, "intermediate_size": 24, "moe_intermediate_size": 8,
    "n_routed_experts": 6, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "first_k_dense_replace": 1
})

_minimax_m2 = variants_of("minimax_m2", BASE | {
    "head_dim": 8, "intermediate_size": 10, "num_local_experts": 6,
    "num_experts_per_tok": 2
})

_phimoe = variants_of("phimoe", BASE | {
    "intermediate_size": 10, "num_local_experts": 6, "num_experts_per_tok": 2
})

_YARN = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0,
         "truncate": False, "original_max_position_embeddings": 32}

GPT_OSS = [
    _gpt_oss(
        "classic",
        "as released: yarn not truncated, biases, sinks, layer_types, 8 experts, top 4",
        {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1,
         "num_local_experts": 8, "num_experts_per_tok": 4, "experts_per_token": 4,
         "attention_bias": True, "initial_context_length": 32, "swiglu_limit": 7.0,
         "hidden_act": "silu", "rope_theta": 1000, "rope_scaling": _YARN,
         "layer_types": ["sliding_attention", "full_attention"], "output_router_logits": False,
         "rms_norm_eps": 1e-05, "tie_word_embeddings": False},
        dtype="BF16", prompts=(1, 7, 13, 60), greedy_prompt=10,
        matters=[{"num_experts_per_tok": 3}, {"sliding_window": 13}, {"sliding_window": 11},
                 {"rope_scaling": _YARN | {"truncate": True}}, {"rope_theta": 100},
                 {"layer_types": ["full_attention", "full_attention"]}],
    ),
    _gpt_oss(
        "defaults",
        "no rope keys at all: yarn by 32 of 4096, theta 150000; no layer_types: 0 and 2 slide; "
        "no head_dim: 64",
        {"head_dim": DELETE, "num_attention_heads": 1, "num_key_value_heads": 1,
         "num_hidden_layers": 3, "num_local_experts": 4, "intermediate_size": 6},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"rope_parameters": {"rope_type": "default"}},
                 {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
                 {"rope_theta": 10000}],
    ),
    _gpt_oss(
        "no-bias",
        "attention_bias false, tied, num_experts instead of num_local_experts, plain rope, top 1",
        {"attention_bias": False, "tie_word_embeddings": True, "num_local_experts": DELETE,
         "num_experts": 5, "num_experts_per_tok": 1, "sliding_window": 16, "rms_norm_eps": 0.01,
         "layer_types": ["full_attention", "sliding_attention"],
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="F16", prompts=(1, 7, 17, 40),
        matters=[{"rms_norm_eps": 1e-5}, {"num_experts_per_tok": 2}, {"sliding_window": 17},
                 {"rope_parameters": None}],
    ),
    _gpt_oss(
        "full",
        "every layer full, multi-head, float32, all experts chosen, yarn with attention_factor "
        "in rope_parameters",
        {"num_key_value_heads": 4, "num_local_experts": 4, "num_experts_per_tok": 4,
         "layer_types": ["full_attention", "full_attention"], "intermediate_size": 6,
         "rope_parameters": _YARN | {"rope_theta": 500.0, "attention_factor": 1.2,
                                     "truncate": True}},
        prompts=(1, 7, 30),
        matters=[{"layer_types": ["full_attention", "sliding_attention"]},
                 {"rope_parameters": _YARN | {"rope_theta": 500.0, "truncate": True}}],
    ),
    _gpt_oss(
        "sliding",
        "every layer slides, linear rope (old style), sharded, multi-query",
        {"num_key_value_heads": 1, "sliding_window": 8, "rope_theta": 10000.0,
         "rope_scaling": {"type": "linear", "factor": 2.5},
         "layer_types": ["sliding_attention"] * 3, "num_hidden_layers": 3,
         "intermediate_size": 6},
        dtype="BF16", shard_bytes=20000, prompts=(1, 8, 9, 40),
        matters=[{"sliding_window": 9}, {"rope_scaling": None}, {"layer_types": None}],
    ),
    _gpt_oss(
        "dynamic",
        "dynamic NTK beyond a context of 24, odd sizes: hidden 36, 3 heads, 5 experts of 7",
        {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3,
         "intermediate_size": 7, "num_local_experts": 5, "num_experts_per_tok": 3,
         "max_position_embeddings": 24,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}},
        dtype="BF16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"num_experts_per_tok": 2}],
    ),
    _gpt_oss(
        "mxfp4",
        "experts in MXFP4, as released; the rest in bfloat16",
        {"intermediate_size": 32, "num_local_experts": 4, "rope_theta": 1000,
         "rope_scaling": _YARN,
         "quantization_config": {
             "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                        "model.embed_tokens", "lm_head"],
             "quant_method": "mxfp4"}},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 1}, {"sliding_window": 13}],
    ),
]

GLM4_MOE = [
    _glm4_moe(
        "classic",
        "as GLM-4.5: one dense layer, q/k norms, qkv bias, half of a head rotated, scale 2.5, "
        "a layer behind the last that predicts further tokens",
        {"n_routed_experts": 8, "num_experts_per_tok": 3,
         "attention_bias": True, "use_qk_norm": True, "partial_rotary_factor": 0.5,
         "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
         "rope_theta": 1000000, "rope_scaling": None, "rms_norm_eps": 1e-05,
         "num_nextn_predict_layers": 1, "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"norm_topk_prob": False},
                 {"routed_scaling_factor": 1.0}, {"partial_rotary_factor": 1.0},
                 {"rope_theta": 100.0}, {"num_experts_per_tok": 2}],
    ),
    _glm4_moe(
        "air",
        "as GLM-4.5-Air: no q/k norms, scale 1 and partial_rotary_factor 0.5 by default, "
        "no head_dim, sharded",
        {"head_dim": DELETE, "attention_bias": True, "n_routed_experts": 8, "rope_theta": 10000.0},
        dtype="BF16", shard_bytes=20000,
        matters=[{"partial_rotary_factor": 1.0}, {"routed_scaling_factor": 1.5}],
    ),
    _glm4_moe(
        "groups",
        "4 groups of 3 experts, the best 2 by their two best keys, top 4 not renormalised, "
        "packed, all layers MoE, two shared experts",
        {"first_k_dense_replace": 0, "n_routed_experts": 12, "num_experts_per_tok": 4,
         "n_group": 4, "topk_group": 2, "norm_topk_prob": False, "n_shared_experts": 2,
         "routed_scaling_factor": 1.5, "moe_intermediate_size": 6, "use_qk_norm": True},
        dtype="BF16", packed=True,
        matters=[{"n_group": 1, "topk_group": 1}, {"n_group": 4, "topk_group": 3},
                 {"n_group": 3, "topk_group": 2}, {"norm_topk_prob": True},
                 {"routed_scaling_factor": 1.0}],
    ),
    _glm4_moe(
        "dense",
        "two dense layers of three, tied, gelu, a quarter of heads of 16 rotated by yarn",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "tie_word_embeddings": True,
         "head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_act": "gelu",
         "rope_theta": 500.0, "partial_rotary_factor": 0.25,
         "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                          "original_max_position_embeddings": 32}},
        dtype="F16", prompts=(1, 7, 40, 60),
        matters=[{"hidden_act": "silu"}, {"rope_scaling": None},
                 {"partial_rotary_factor": 0.5}],
    ),
    _glm4_moe(
        "v5",
        "as Transformers 5 writes it: num_local_experts, rope_parameters with the partial factor "
        "0.75, packed, top 1",
        {"n_routed_experts": DELETE, "num_local_experts": 5, "num_experts_per_tok": 1,
         "norm_topk_prob": False, "use_qk_norm": True, "attention_bias": True,
         "num_mtp_layers": 0,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                             "partial_rotary_factor": 0.75}},
        packed=True,
        matters=[{"norm_topk_prob": True},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _glm4_moe(
        "dynamic",
        "dynamic NTK on half of the head beyond a context of 24, 2 groups, 1 kept, renormalised",
        {"max_position_embeddings": 24, "n_routed_experts": 8, "n_group": 2, "topk_group": 1,
         "num_experts_per_tok": 3, "routed_scaling_factor": 2.0, "rms_norm_eps": 0.01,
         "rope_theta": 1000.0, "rope_scaling": {"rope_type": "dynamic", "factor": 3.0}},
        dtype="BF16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"rope_scaling": None}, {"topk_group": 2}, {"rms_norm_eps": 1e-5}],
    ),
    _glm4_moe(
        "llama3",
        "llama3 rope on whole heads, 8 experts in 2 groups both kept, multi-query",
        {"num_key_value_heads": 1, "n_routed_experts": 8, "n_group": 2, "topk_group": 2,
         "partial_rotary_factor": 1.0, "rope_theta": 500.0,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        dtype="BF16", prompts=(1, 7, 40, 60),
        matters=[{"rope_scaling": None}, {"partial_rotary_factor": 0.5}],
    ),
]

MINIMAX_M2 = [
    _minimax_m2(
        "classic",
        "as released, but for rotary_dim beside the partial factor: 8 experts, top 3",
        {"num_local_experts": 8, "num_experts_per_tok": 3, "rotary_dim": 4,
         "partial_rotary_factor": 0.5, "rope_theta": 5000000, "use_qk_norm": True,
         "qk_norm_type": "per_layer", "scoring_func": "sigmoid", "use_routing_bias": True,
         "shared_intermediate_size": 0, "attn_type_list": [1, 1], "num_mtp_modules": 3,
         "mtp_transformer_layers": 1, "use_mtp": True, "rms_norm_eps": 1e-06,
         "router_jitter_noise": 0.0, "hidden_act": "silu", "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"partial_rotary_factor": 1.0}, {"num_experts_per_tok": 2},
                 {"rope_theta": 100.0}, {"rms_norm_eps": 0.1}],
    ),
    _minimax_m2(
        "rotary-dim",
        "rotary_dim alone, heads of 12, rope_theta left to its 5e6 default, multi-query, sharded",
        {"head_dim": 12, "rotary_dim": 8, "num_key_value_heads": 1},
        dtype="BF16", shard_bytes=20000,
        matters=[{"rotary_dim": 12}, {"rotary_dim": 4}, {"rope_theta": 10000.0}],
    ),
    _minimax_m2(
        "packed",
        "packed, whole heads rotated, multi-head, tied, gelu, top 1: weight 1",
        {"num_key_value_heads": 4, "num_experts_per_tok": 1, "hidden_act": "gelu",
         "tie_word_embeddings": True,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
        dtype="BF16", packed=True,
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                      "partial_rotary_factor": 0.5}}],
    ),
    _minimax_m2(
        "yarn",
        "yarn on half of heads of 16, top 4 of 5",
        {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1,
         "num_local_experts": 5, "num_experts_per_tok": 4, "rope_theta": 500.0,
         "partial_rotary_factor": 0.5, "rope_scaling": _YARN},
        dtype="F16", prompts=(1, 7, 40, 60),
        matters=[{"rope_scaling": None}, {"rope_scaling": _YARN | {"truncate": True}},
                 {"partial_rotary_factor": 1.0}],
    ),
    _minimax_m2(
        "dynamic",
        "dynamic NTK beyond a context of 24, num_experts instead of num_local_experts, 3 layers, "
        "rotary_dim in the new style",
        {"num_hidden_layers": 3, "num_local_experts": DELETE, "num_experts": 6,
         "max_position_embeddings": 24, "rotary_dim": 6, "intermediate_size": 8,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}},
        dtype="BF16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}},
                 {"rotary_dim": 8}],
    ),
    _minimax_m2(
        "linear",
        "linear rope, float32, odd sizes: hidden 36, 3 heads, 5 experts of 7",
        {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3,
         "intermediate_size": 7, "num_local_experts": 5, "rotary_dim": 4, "rope_theta": 1000.0,
         "rope_scaling": {"type": "linear", "factor": 2.5}},
        prompts=(1, 7, 30),
        matters=[{"rope_scaling": None}, {"rotary_dim": 6}],
    ),
]

_LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.2, 1.5, 2.0],
             "long_factor": [1.0, 2.0, 5.0, 9.0], "short_mscale": 1.2, "long_mscale": 1.4,
             "original_max_position_embeddings": 32}

PHIMOE = [
    _phimoe(
        "classic",
        "as released: LayerNorm with bias, biases of attention and head, longrope within the "
        "first context, a window that is never reached",
        {"num_local_experts": 8, "attention_bias": True, "lm_head_bias": True,
         "router_jitter_noise": 0.05, "input_jitter_noise": 0.01, "rope_theta": 10000.0,
         "rope_scaling": _LONGROPE | {"original_max_position_embeddings": 64},
         "original_max_position_embeddings": 64, "sliding_window": 256, "rms_norm_eps": 1e-05,
         "hidden_dropout": 0.0, "tie_word_embeddings": False},
        dtype="BF16",
        matters=[{"rope_scaling": None},
                 {"router_jitter_noise": 0.0}, {"rms_norm_eps": 0.1},
                 {"rope_scaling": _LONGROPE | {"original_max_position_embeddings": 64,
                                               "short_mscale": 1.0}}],
    ),
    _phimoe(
        "longrope",
        "longrope beyond a first context of 16 tokens: the authors' rule",
        {"attention_bias": True, "router_jitter_noise": 0.1, "rope_theta": 1000.0,
         "rope_scaling": _LONGROPE | {"original_max_position_embeddings": 16}},
        dtype="BF16", prompts=(1, 7, 16, 17, 50), greedy_prompt=20,
        matters=[{"rope_scaling": _LONGROPE | {"original_max_position_embeddings": 64}},
                 {"rope_scaling": _LONGROPE | {"original_max_position_embeddings": 16,
                                               "long_factor": [1.0, 1.2, 1.5, 2.0]}},
                 {"rope_scaling": _LONGROPE | {"original_max_position_embeddings": 16,
                                               "long_mscale": 1.2}}],
    ),
    _phimoe(
        "plain",
        "no biases of attention and head, plain rope with the 1e6 default, noise left to 0.01, "
        "sharded, multi-query",
        {"num_key_value_heads": 1},
        dtype="BF16", shard_bytes=20000,
        matters=[{"rope_theta": 10000.0}, {"router_jitter_noise": 0.5}],
    ),
    _phimoe(
        "packed",
        "packed, tied with a head bias, gelu, a wide threshold, three layers",
        {"num_hidden_layers": 3, "tie_word_embeddings": True, "lm_head_bias": True,
         "hidden_act": "gelu", "router_jitter_noise": 0.4, "rope_theta": 1000.0,
         "intermediate_size": 8},
        dtype="BF16", packed=True,
        matters=[{"hidden_act": "silu"}, {"router_jitter_noise": 0.2}],
    ),
    _phimoe(
        "window",
        "window of 12 on all layers, multi-head, head_dim 12 unlike H/heads, float16",
        {"sliding_window": 12, "num_key_value_heads": 4, "head_dim": 12, "rope_theta": 10000.0,
         "router_jitter_noise": 0.25, "num_local_experts": 4},
        dtype="F16", prompts=(1, 7, 13, 40), greedy_prompt=10,
        matters=[{"sliding_window": None}, {"sliding_window": 13}, {"sliding_window": 11},
                 {"router_jitter_noise": 0.2}],
    ),
    _phimoe(
        "zero-noise",
        "router_jitter_noise 0: both weights are 1; two experts, float32, new style rope",
        {"router_jitter_noise": 0.0, "num_local_experts": 2, "attention_bias": True,
         "num_attention_heads": 2, "num_key_value_heads": 1,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        prompts=(1, 7, 30),
        matters=[{"router_jitter_noise": 0.5},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

RECENT = GPT_OSS + GLM4_MOE + MINIMAX_M2 + PHIMOE
