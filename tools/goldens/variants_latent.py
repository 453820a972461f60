# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the families in families_latent.py."""

from .variant import BASE, DELETE, variants_of

# Two heads of 12 + 8, values of 10: no width stands for another.
MLA = {
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "q_lora_rank": 16,
    "kv_lora_rank": 14,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 10,
}
MOE = {
    "intermediate_size": 20,
    "moe_intermediate_size": 8,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
}


def yarn(factor, original=16, **other):
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original, **other}


_deepseek_v3 = variants_of("deepseek_v3", BASE | MLA | MOE | {
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1
})

DEEPSEEK_V3 = [
    _deepseek_v3(
        "classic",
        "as released: 2 of 4 groups, biased sigmoids, one dense layer of three, yarn with equal "
        "mscales, which changes the scale of scores alone; bfloat16, sharded",
        {"num_hidden_layers": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
         "moe_intermediate_size": 6,
         "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
         "moe_layer_freq": 1, "ep_size": 1, "seq_aux": True, "aux_loss_alpha": 0.001,
         "num_nextn_predict_layers": 0, "rope_theta": 10000, "attention_bias": False,
         "rope_scaling": yarn(40, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0),
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40),
        matters=[
            {"topk_group": 4}, {"n_group": 1, "topk_group": 1}, {"norm_topk_prob": False},
            {"routed_scaling_factor": 1.0}, {"rope_interleave": False}, {"rope_scaling": None},
            {"rope_scaling": yarn(40, beta_fast=32, beta_slow=1)},
            {"rope_scaling": yarn(40, beta_fast=32, beta_slow=1, attention_factor=1.0)},
        ],
    ),
    _deepseek_v3(
        "mtp",
        "the checkpoint has a layer more than num_hidden_layers, which predicts a second token and "
        "is not run; norms with an epsilon unlike that of the latents",
        {"num_nextn_predict_layers": 1, "n_group": 2, "topk_group": 1, "rms_norm_eps": 0.05,
         "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
         "rope_theta": 1000.0},
        dtype="BF16", shard_bytes=40000,
        matters=[{"rms_norm_eps": 1e-06}, {"rope_theta": 100.0}, {"topk_group": 2}],
    ),
    _deepseek_v3(
        "no-lora",
        "Moonlight: queries without a latent, no groups, two shared experts, three heads, float16",
        {"q_lora_rank": None, "num_attention_heads": 3, "num_key_value_heads": 3,
         "n_routed_experts": 6, "n_shared_experts": 2, "routed_scaling_factor": 2.446,
         "rope_theta": 50000.0, "rope_scaling": None, "norm_topk_prob": True},
        dtype="F16",
        matters=[{"routed_scaling_factor": 1.0}, {"norm_topk_prob": False},
                 {"num_experts_per_tok": 2}, {"rope_theta": 100.0}],
    ),
    _deepseek_v3(
        "kimi",
        "Kimi-K2: yarn whose beta_fast is its beta_slow, no groups, top 4 of 8, four heads",
        {"num_attention_heads": 4, "num_key_value_heads": 4, "num_experts_per_tok": 4,
         "routed_scaling_factor": 2.827, "rope_theta": 2000.0, "max_position_embeddings": 4096,
         "rope_scaling": yarn(32.0, 128, beta_fast=1.0, beta_slow=1.0, mscale=1.0,
                               mscale_all_dim=1.0)},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_scaling": yarn(32.0, 128, mscale=1.0, mscale_all_dim=1.0)},
                 {"rope_scaling": yarn(32.0, 128, beta_fast=1.0, beta_slow=1.0)}],
    ),
    _deepseek_v3(
        "bias",
        "attention_bias, halves rotated (rope_interleave false), no normalisation, tied, gelu",
        {"attention_bias": True, "rope_interleave": False, "norm_topk_prob": False,
         "tie_word_embeddings": True, "hidden_act": "gelu", "n_routed_experts": 4,
         "num_experts_per_tok": 2, "routed_scaling_factor": 1.5, "num_key_value_heads": None,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        matters=[{"rope_interleave": True}, {"norm_topk_prob": True}, {"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _deepseek_v3(
        "packed",
        "packed, no dense layer, one of four groups, yarn with mscales that differ: cos and sin "
        "are scaled, and the scores",
        {"first_k_dense_replace": 0, "n_group": 4, "topk_group": 1, "num_experts_per_tok": 2,
         "norm_topk_prob": True,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 0.6, "mscale_all_dim": 1.3,
                             "original_max_position_embeddings": 16}},
        dtype="BF16", packed=True, shard_bytes=25000, prompts=(1, 7, 40),
        matters=[
            {"topk_group": 2},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "mscale": 1.3, "mscale_all_dim": 1.3,
                                 "original_max_position_embeddings": 16}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "mscale": 0.6,
                                 "original_max_position_embeddings": 16}},
        ],
    ),
    _deepseek_v3(
        "dynamic",
        "no shared expert; dynamic NTK on the rotated part, prompts longer than the context; one "
        "head, values wider than keys",
        {"n_shared_experts": 0, "num_attention_heads": 1, "num_key_value_heads": 1,
         "v_head_dim": 24, "q_lora_rank": 8, "max_position_embeddings": 24,
         "routed_scaling_factor": 1.0, "n_routed_experts": 6,
         "rope_scaling": {"type": "dynamic", "factor": 4.0}},
        dtype="BF16", prompts=(1, 7, 24, 25, 70), greedy_prompt=18,
        matters=[{"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 4.0}}],
    ),
]

_deepseek_v2 = variants_of("deepseek_v2", BASE | MLA | MOE | {
    "num_key_value_heads": DELETE, "first_k_dense_replace": 1
})

DEEPSEEK_V2 = [
    _deepseek_v2(
        "lite",
        "V2-Lite as released: greedy, no latent of queries, two shared experts, yarn with equal "
        "mscales of 0.707; bfloat16, sharded",
        {"q_lora_rank": None, "num_key_value_heads": 2, "n_shared_experts": 2,
         "num_hidden_layers": 3, "moe_intermediate_size": 6, "topk_method": "greedy", "n_group": 1,
         "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 1.0,
         "scoring_func": "softmax", "moe_layer_freq": 1, "ep_size": 1, "seq_aux": True,
         "aux_loss_alpha": 0.001, "rope_theta": 10000,
         "rope_scaling": yarn(40, beta_fast=32, beta_slow=1, mscale=0.707, mscale_all_dim=0.707),
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000,
        matters=[
            {"num_experts_per_tok": 2}, {"routed_scaling_factor": 2.0}, {"rope_scaling": None},
            {"rope_scaling": yarn(40, beta_fast=32, beta_slow=1, mscale=0.707)},
            {"rope_scaling": yarn(40, beta_fast=32, beta_slow=1, attention_factor=1.0)},
        ],
    ),
    _deepseek_v2(
        "full",
        "V2 as released: best of group, 2 of 4 groups, weights times 16, queries with a latent",
        {"n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy",
         "routed_scaling_factor": 16.0, "norm_topk_prob": False, "rms_norm_eps": 0.02,
         "rope_theta": 10000,
         "rope_scaling": yarn(40.0, mscale=0.707, mscale_all_dim=0.707)},
        dtype="BF16",
        matters=[{"topk_method": "greedy"}, {"topk_group": 3}, {"n_group": 2, "topk_group": 1},
                 {"routed_scaling_factor": 1.0}, {"rms_norm_eps": 1e-06}],
    ),
    _deepseek_v2(
        "packed",
        "packed, groups of one expert, no dense layer because first_k_dense_replace is absent",
        {"first_k_dense_replace": DELETE, "n_group": 8, "topk_group": 4,
         "topk_method": "group_limited_greedy", "num_experts_per_tok": 4,
         "routed_scaling_factor": 1.5, "rope_theta": 1000.0},
        dtype="F16", packed=True, shard_bytes=25000,
        matters=[{"num_experts_per_tok": 3}, {"rope_theta": 100.0}],
    ),
    _deepseek_v2(
        "bias",
        "attention_bias, tied, gelu, greedy beside groups that it does not read, top 1",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu", "n_group": 4,
         "topk_group": 1, "topk_method": "greedy", "num_experts_per_tok": 1,
         "n_routed_experts": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _deepseek_v2(
        "mscale",
        "yarn with mscales that differ, four heads, topk_method left to its default",
        {"num_attention_heads": 4, "n_group": None, "topk_group": None, "n_routed_experts": 6,
         "routed_scaling_factor": 2.0,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 1.4, "mscale_all_dim": 0.5,
                             "original_max_position_embeddings": 16}},
        dtype="BF16",
        matters=[
            {"routed_scaling_factor": 1.0},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "mscale": 0.5, "mscale_all_dim": 0.5,
                                 "original_max_position_embeddings": 16}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "original_max_position_embeddings": 16}},
        ],
    ),
    _deepseek_v2(
        "linear",
        "linear rope, three heads, values wider than keys, no shared expert",
        {"hidden_size": 36, "num_attention_heads": 3, "v_head_dim": 24, "n_shared_experts": 0,
         "n_routed_experts": 6, "moe_intermediate_size": 6, "q_lora_rank": None,
         "topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1,
         "num_experts_per_tok": 2, "rope_scaling": {"type": "linear", "factor": 3.0}},
        dtype="BF16",
        matters=[{"rope_scaling": None}, {"topk_group": 2}, {"topk_method": "greedy"}],
    ),
]

_glm4_moe_lite = variants_of("glm4_moe_lite", BASE | MLA | MOE | {"rope_theta": 1000000.0})

GLM4_MOE_LITE = [
    _glm4_moe_lite(
        "classic",
        "as released: first layer dense, one group, a layer behind the last that is not run, keys "
        "left to their defaults; bfloat16",
        {"num_nextn_predict_layers": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
         "moe_intermediate_size": 6, "n_routed_experts": 6, "topk_method": "noaux_tc",
         "partial_rotary_factor": 1.0, "rope_scaling": None, "attention_bias": False,
         "dtype": "bfloat16"},
        dtype="BF16",
        matters=[{"norm_topk_prob": False}, {"routed_scaling_factor": 1.0}, {"rope_theta": 100.0},
                 {"rope_interleave": False}, {"num_experts_per_tok": 2}],
    ),
    _glm4_moe_lite(
        "layer-types",
        "mlp_layer_types: layer 1 of three is dense; norms with an epsilon unlike that of the "
        "latents; sharded",
        {"num_hidden_layers": 3, "mlp_layer_types": ["sparse", "dense", "sparse"],
         "moe_intermediate_size": 6, "n_routed_experts": 6, "rms_norm_eps": 0.05},
        dtype="BF16", shard_bytes=30000,
        matters=[{"rms_norm_eps": 1e-06}, {"norm_topk_prob": False}],
    ),
    _glm4_moe_lite(
        "packed",
        "packed, all layers sparse, 2 of 4 groups, not normalised, float16",
        {"mlp_layer_types": ["sparse", "sparse"], "n_group": 4, "topk_group": 2,
         "norm_topk_prob": False, "routed_scaling_factor": 1.2, "rope_theta": 1000.0},
        dtype="F16", packed=True, shard_bytes=25000,
        matters=[{"topk_group": 4}, {"norm_topk_prob": True}, {"routed_scaling_factor": 1.8}],
    ),
    _glm4_moe_lite(
        "yarn",
        "yarn with both mscales in rope_parameters, no latent of queries, values wider than keys",
        {"q_lora_rank": None, "v_head_dim": 24, "n_routed_experts": 6, "rope_theta": DELETE,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 1.0, "mscale_all_dim": 0.4,
                             "original_max_position_embeddings": 16}},
        dtype="BF16",
        matters=[
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "original_max_position_embeddings": 16}},
            {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        ],
    ),
    _glm4_moe_lite(
        "bias",
        "attention_bias, halves rotated, tied, gelu_pytorch_tanh, top 1, head_dim as Transformers "
        "5 writes it",
        {"attention_bias": True, "rope_interleave": False, "tie_word_embeddings": True,
         "hidden_act": "gelu_pytorch_tanh", "num_experts_per_tok": 1, "n_routed_experts": 4,
         "head_dim": 8, "rope_theta": 5000.0},
        matters=[{"rope_interleave": True}, {"hidden_act": "silu"}, {"norm_topk_prob": False},
                 {"num_experts_per_tok": 2}],
    ),
    _glm4_moe_lite(
        "dense",
        "every layer dense, four heads, two shared experts that no layer has",
        {"mlp_layer_types": ["dense", "dense"], "num_attention_heads": 4,
         "num_key_value_heads": 4, "n_shared_experts": 2, "rope_theta": 1000.0},
        dtype="BF16",
        matters=[{"rope_theta": 100.0}],
    ),
]

_dots1 = variants_of("dots1", BASE | MOE | {
    "first_k_dense_replace": 1, "moe_intermediate_size": 6
})

DOTS1 = [
    _dots1(
        "classic",
        "as released: multi-head, norms of q and k, head_dim unlike H/heads, first layer dense, "
        "normalised; no layer slides; bfloat16, sharded",
        {"num_key_value_heads": 4, "head_dim": 12, "n_group": 1,
         "topk_group": 1, "n_shared_experts": 2, "n_routed_experts": 6, "norm_topk_prob": True,
         "routed_scaling_factor": 2.5, "rope_theta": 10000000, "rope_scaling": None,
         "sliding_window": None, "max_window_layers": 2, "scoring_func": "noaux_tc",
         "attention_bias": False, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000,
        matters=[{"norm_topk_prob": False}, {"routed_scaling_factor": 1.0}, {"rope_theta": 100.0},
                 {"num_experts_per_tok": 2}],
    ),
    _dots1(
        "window",
        "max_window_layers 1 of 3: layers 1 and 2 slide (16); grouped-query, not normalised "
        "because the key is absent",
        {"num_hidden_layers": 3, "sliding_window": 16, "max_window_layers": 1,
         "n_routed_experts": 6},
        dtype="BF16", prompts=(1, 7, 17, 60), greedy_prompt=12,
        matters=[{"sliding_window": None}, {"max_window_layers": 2}, {"max_window_layers": 0},
                 {"sliding_window": 15}, {"sliding_window": 17}, {"norm_topk_prob": True}],
    ),
    _dots1(
        "layer-types",
        "layer_types: layer 0 slides (20), although max_window_layers says otherwise; no dense "
        "layer because first_k_dense_replace is absent; multi-query",
        {"first_k_dense_replace": DELETE, "num_key_value_heads": 1, "sliding_window": 20,
         "max_window_layers": 1, "layer_types": ["sliding_attention", "full_attention"],
         "n_routed_experts": 6, "norm_topk_prob": True, "rms_norm_eps": 0.05},
        dtype="F16", prompts=(1, 7, 21, 60), greedy_prompt=14,
        matters=[{"layer_types": ["full_attention", "full_attention"]},
                 {"layer_types": ["full_attention", "sliding_attention"]},
                 {"rms_norm_eps": 1e-06}],
    ),
    _dots1(
        "packed",
        "packed, 2 of 4 groups, grouped-query",
        {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 1.5,
         "moe_intermediate_size": 8, "rope_theta": 1000.0},
        dtype="BF16", packed=True, shard_bytes=25000,
        matters=[{"topk_group": 4}, {"n_group": 1, "topk_group": 1}, {"norm_topk_prob": False},
                 {"routed_scaling_factor": 1.0}],
    ),
    _dots1(
        "bias",
        "biases of attention, tied, gelu, top 1 normalised: the weight is the scale",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
         "num_key_value_heads": None, "num_experts_per_tok": 1, "norm_topk_prob": True,
         "n_routed_experts": 4, "routed_scaling_factor": 1.3,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        matters=[{"hidden_act": "silu"}, {"norm_topk_prob": False},
                 {"num_experts_per_tok": 2}],
    ),
    _dots1(
        "yarn",
        "yarn whose mscales change cos and sin but not the scale of scores, two heads of 16, no "
        "shared expert",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
         "n_shared_experts": 0, "n_routed_experts": 6,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 1.4, "mscale_all_dim": 0.5,
                             "original_max_position_embeddings": 16}},
        dtype="BF16",
        matters=[
            {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "mscale": 0.5, "mscale_all_dim": 0.5,
                                 "original_max_position_embeddings": 16}},
        ],
    ),
]

# Each layer has two attentions and two dense FFNs.
_LONGCAT = {
    "num_hidden_layers": DELETE,
    "num_key_value_heads": DELETE,
    "num_layers": 2,
    "ffn_hidden_size": 16,
    "expert_ffn_hidden_size": 4,
    "n_routed_experts": 6,
    "zero_expert_num": 3,
    "moe_topk": 3,
    "head_dim": 8,
    "q_lora_rank": 12,
}

_longcat_flash = variants_of("longcat_flash", BASE | MLA | _LONGCAT)

LONGCAT_FLASH = [
    _longcat_flash(
        "classic",
        "as released: 6 experts and 3 identities, top 3, both scales of latents, rope_theta 1e7 "
        "by default; bfloat16, sharded",
        {"mla_scale_q_lora": True, "mla_scale_kv_lora": True, "zero_expert_type": "identity",
         "attention_method": "MLA", "attention_bias": False, "routed_scaling_factor": 6.0,
         "router_bias": False, "norm_topk_prob": False, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000,
        matters=[{"routed_scaling_factor": 1.0}, {"moe_topk": 2}, {"rope_theta": 100.0},
                 {"rms_norm_eps": 0.1}],
    ),
    _longcat_flash(
        "no-zero",
        "no identities; num_hidden_layers as Transformers writes it, top 2 of 4",
        {"zero_expert_num": 0, "n_routed_experts": 4, "moe_topk": 2, "num_hidden_layers": 4,
         "num_key_value_heads": 2, "routed_scaling_factor": 2.0, "rope_theta": 1000.0},
        dtype="F16",
        matters=[{"moe_topk": 3}, {"rope_theta": 100.0}, {"routed_scaling_factor": 6.0}],
    ),
    _longcat_flash(
        "many-zeros",
        "one layer, more identities than experts, top 4 of 4 + 6, tensors of a predictor that is "
        "not run, norms with an epsilon unlike that of the latents",
        {"num_layers": 1, "zero_expert_num": 6, "n_routed_experts": 4, "moe_topk": 4,
         "rms_norm_eps": 0.05, "num_nextn_predict_layers": 1, "routed_scaling_factor": 3.0,
         "rope_theta": 10000.0},
        dtype="BF16", shard_bytes=40000,
        matters=[{"rms_norm_eps": 1e-05}, {"moe_topk": 3}, {"routed_scaling_factor": 6.0}],
    ),
    _longcat_flash(
        "packed",
        "packed (gate and up of real experts alone), yarn with equal mscales, one layer",
        {"num_layers": 1, "routed_scaling_factor": 4.0, "rope_theta": 10000.0,
         "rope_scaling": yarn(16.0, mscale=1.0, mscale_all_dim=1.0)},
        dtype="BF16", packed=True,
        matters=[{"rope_scaling": None}, {"rope_scaling": yarn(16.0)},
                 {"rope_scaling": yarn(16.0, attention_factor=1.0)}],
    ),
    _longcat_flash(
        "bias",
        "attention_bias, tied, gelu, top 2, one layer, float32",
        {"num_layers": 1, "attention_bias": True, "tie_word_embeddings": True,
         "hidden_act": "gelu", "moe_topk": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        matters=[{"hidden_act": "silu"}, {"moe_topk": 3},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _longcat_flash(
        "linear",
        "linear rope, one layer, three heads, hidden no multiple of them, top 5 of 9",
        {"num_layers": 1, "num_attention_heads": 3, "v_head_dim": 24, "moe_topk": 5,
         "routed_scaling_factor": 1.0, "rope_theta": 10000.0,
         "rope_scaling": {"type": "linear", "factor": 3.0}},
        dtype="BF16",
        matters=[{"rope_scaling": None}, {"moe_topk": 3}, {"routed_scaling_factor": 6.0}],
    ),
]

LATENT = [*DEEPSEEK_V3, *DEEPSEEK_V2, *GLM4_MOE_LITE, *DOTS1, *LONGCAT_FLASH]
