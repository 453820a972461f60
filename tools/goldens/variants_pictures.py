# SPDX-License-Identifier: Apache-2.0
"""The golden variants of text models inside of multimodal ones."""

from .variant import BASE, DELETE, Variant, inner

_KIMI_TEXT = BASE | {
    "model_type": "kimi_k2", "num_attention_heads": 2, "num_key_value_heads": 2,
    "q_lora_rank": 16, "kv_lora_rank": 14, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8,
    "v_head_dim": 10, "intermediate_size": 20, "moe_intermediate_size": 8, "n_routed_experts": 8,
    "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "routed_scaling_factor": 2.827, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": True, "tie_word_embeddings": False,
    "rope_theta": 2000.0,
    "rope_scaling": {"type": "yarn", "factor": 32.0, "original_max_position_embeddings": 128,
                     "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
}
# Ids of pictures are beyond the vocabulary: Transformers looks for them in every text.
_KIMI_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2,
                "num_hidden_layers": 1, "patch_size": 2}


def _kimi(name, description, text, outer, **kwargs):
    """`matters` names changes of the text model."""
    text = inner(_KIMI_TEXT, text)
    config = {"text_config": text, "vision_config": _KIMI_VISION, "projection_hidden_size": 16,
              "tie_word_embeddings": False} | outer
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"kimi_k25-{name}", "kimi_k25", description, config, **kwargs)


KIMI = [
    _kimi(
        "classic",
        "as released: Kimi-K2 below text_config, tensors below language_model",
        {}, {"media_placeholder_token_id": 92, "ignore_index": -100, "bos_token_id": None,
             "use_unified_vision_chunk": True, "video_placeholder": "<|video|>",
             "pad_token_id": None},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"routed_scaling_factor": 1.0}, {"num_experts_per_tok": 2},
                 {"rope_theta": 100.0}, {"rope_scaling": None}],
    ),
    _kimi(
        "dense",
        "two dense layers of three, two shared experts, keys and names of Transformers",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "n_shared_experts": 2,
         "model_type": "deepseek_v3", "rope_scaling": None, "norm_topk_prob": False},
        {"image_token_id": 196, "video_token_id": 197, "vision_start_token_id": 198,
         "vision_end_token_id": 199, "projection_layer_norm_eps": 1e-05,
         "transformers_version": "5.24.0"},
        matters=[{"norm_topk_prob": True}, {"routed_scaling_factor": 1.0}],
    ),
    _kimi(
        "groups",
        "two of four groups, no latent of queries, halves rotated, linear rotations; float16",
        {"n_group": 4, "topk_group": 2, "q_lora_rank": None, "rope_interleave": False,
         "num_key_value_heads": None, "rope_scaling": {"type": "linear", "factor": 2.5}},
        {}, dtype="F16",
        matters=[{"topk_group": 4}, {"rope_interleave": True}, {"rope_scaling": None},
                 {"n_group": 1, "topk_group": 1}],
    ),
    _kimi(
        "biases",
        "biases of attention, a tied head, gelu, no dense layer, num_local_experts for "
        "n_routed_experts, rope_parameters, the other name of the architecture",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
         "first_k_dense_replace": 0, "num_local_experts": 6, "n_routed_experts": DELETE,
         "num_experts_per_tok": 2, "rms_norm_eps": 0.01, "rope_theta": DELETE,
         "rope_scaling": DELETE, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        {"tie_word_embeddings": True, "architectures": ["KimiK25ForConditionalGeneration"]},
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 1e-06},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 20.0}}],
    ),
    _kimi(
        "llama3",
        "llama3 rope, one head whose values are wider than its keys, top 1 as it is, a sum of head "
        "sizes that says itself; bfloat16, sharded",
        {"num_attention_heads": 1, "num_key_value_heads": 1, "v_head_dim": 24, "qk_head_dim": 20,
         "num_experts_per_tok": 1, "norm_topk_prob": False, "moe_intermediate_size": 14,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        {"image_token_id": 196, "video_token_id": 197},
        dtype="BF16", shard_bytes=20000, prompts=(1, 7, 80),
        matters=[{"num_experts_per_tok": 2}, {"rope_scaling": None},
                 {"routed_scaling_factor": 1.0}],
    ),
    _kimi(
        "defaults",
        "four of eight groups, three dense layers, factors, theta and the interleaving by default, "
        "three experts of 16; float16, sharded",
        {key: DELETE for key in ("n_group", "topk_group", "first_k_dense_replace", "rope_theta",
                                 "routed_scaling_factor", "norm_topk_prob", "n_shared_experts",
                                 "rope_scaling", "scoring_func", "topk_method")}
        | {"num_hidden_layers": 4, "n_routed_experts": 16, "moe_intermediate_size": 4,
           "intermediate_size": 10},
        {}, dtype="F16", shard_bytes=40000,
        matters=[{"topk_group": 8}, {"n_group": 4}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"rope_theta": 100.0}, {"rope_interleave": False}],
    ),
]

_QWEN_TEXT = BASE | {
    "model_type": "qwen3_vl_moe_text", "head_dim": 12, "intermediate_size": 20,
    "moe_intermediate_size": 10, "num_experts": 8, "num_experts_per_tok": 2, "pad_token_id": None,
    "tie_word_embeddings": False,
}
_QWEN_VISION = {"model_type": "qwen3_vl_moe", "depth": 1, "hidden_size": 16,
                "intermediate_size": 16, "num_heads": 2, "patch_size": 2, "out_hidden_size": 32,
                "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
_SECTIONS = {"mrope_interleaved": True, "mrope_section": [2, 2, 2], "rope_type": "default"}
_YARN = _SECTIONS | {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                     "original_max_position_embeddings": 32}
_LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 32, "mrope_section": [2, 2, 1]}


def _qwen(name, description, text, outer=None, **kwargs):
    text = inner(_QWEN_TEXT, text)
    config = {"text_config": text, "vision_config": _QWEN_VISION, "image_token_id": 196,
              "video_token_id": 197, "vision_start_token_id": 198, "vision_end_token_id": 199,
              "tie_word_embeddings": False} | (outer or {})
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"qwen3_vl_moe-{name}", "qwen3_vl_moe", description, config, **kwargs)


QWEN = [
    _qwen(
        "classic",
        "as released: top 2 of 8, sections of positions, tensors of the part for pictures",
        {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "rope_theta": 5000000,
         "rope_scaling": _SECTIONS, "attention_bias": False, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 3}, {"rope_theta": 100}, {"rms_norm_eps": 0.1}],
    ),
    _qwen(
        "dense",
        "a dense layer in the middle, biases, gelu, theta of Transformers, float16",
        {"num_hidden_layers": 3, "mlp_only_layers": [1], "attention_bias": True,
         "hidden_act": "gelu", "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0,
                                                   "mrope_section": [2, 2, 2]}},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 1}],
    ),
    _qwen(
        "sparse-step",
        "every other layer sparse, as many key heads as heads",
        {"decoder_sparse_step": 2, "num_key_value_heads": 4, "num_experts_per_tok": 4,
         "rope_theta": 1000.0, "rope_scaling": _SECTIONS},
        matters=[{"num_experts_per_tok": 3}, {"rope_theta": 10.0}],
    ),
    _qwen(
        "saved",
        "experts as Transformers holds and writes them: not transposed, one of the two square",
        {"moe_intermediate_size": 16, "num_experts": 6, "num_experts_per_tok": 3,
         "rope_parameters": _SECTIONS | {"rope_theta": 500.0}},
        {"transformers_version": "5.24.0"}, packed=True,
        matters=[{"num_experts_per_tok": 2}, {"rope_parameters": _SECTIONS | {"rope_theta": 10.0}}],
    ),
    _qwen(
        "yarn",
        "yarn beside sections, one key head, heads of 16 that no key says, a tied head, top 1; "
        "bfloat16, sharded",
        {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": DELETE,
         "tie_word_embeddings": True, "num_experts_per_tok": 1, "rope_parameters": _YARN},
        {"tie_word_embeddings": True},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"num_experts_per_tok": 2}, {"rope_parameters": _YARN | {"rope_type": "default"}},
                 {"rope_parameters": _YARN | {"factor": 16.0}}],
    ),
    _qwen(
        "llama3",
        "llama3 beside sections, num_local_experts for num_experts, three heads, relu, two dense "
        "layers of three, widths that no vector has; float16",
        {"num_local_experts": 5, "num_experts": DELETE, "num_key_value_heads": 3,
         "hidden_act": "relu", "mlp_only_layers": [0, 2], "num_hidden_layers": 3,
         "num_attention_heads": 3, "head_dim": 10, "hidden_size": 24, "moe_intermediate_size": 7,
         "intermediate_size": 13, "num_experts_per_tok": 3,
         "rope_scaling": _LLAMA3, "rope_theta": 500.0},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 2},
                 {"rope_scaling": _SECTIONS | {"mrope_section": [2, 2, 1]}}],
    ),
]

_GLM_TEXT = BASE | {
    "model_type": "glm4v_moe_text", "head_dim": 12, "intermediate_size": 20,
    "moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "partial_rotary_factor": 0.5, "pad_token_id": None, "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 1]},
}
_GLM_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
               "patch_size": 2, "image_size": 8, "out_hidden_size": 32}


def _glm_yarn(factor):
    return {"rope_type": "yarn", "rope_theta": 100.0, "factor": factor, "mrope_section": [2, 1, 1],
            "original_max_position_embeddings": 32}


def _glm(name, description, text, outer=None, **kwargs):
    text = inner(_GLM_TEXT, text)
    config = {"text_config": text, "vision_config": _GLM_VISION, "image_token_id": 196,
              "video_token_id": 197, "image_start_token_id": 198, "image_end_token_id": 199,
              "video_start_token_id": 200, "video_end_token_id": 201,
              "tie_word_embeddings": False} | (outer or {})
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"glm4v_moe-{name}", "glm4v_moe", description, config, **kwargs)


GLM = [
    _glm(
        "classic",
        "GLM-4.5V as released: half of each head turns, biases of q, k and v, a dense layer",
        {"num_hidden_layers": 3, "attention_bias": True, "n_group": 1, "topk_group": 1,
         "n_shared_experts": 1, "first_k_dense_replace": 1, "norm_topk_prob": True,
         "routed_scaling_factor": 1.0, "use_qk_norm": False, "hidden_act": "silu",
         "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 3}, {"rope_theta": 100.0}, {"norm_topk_prob": False},
                 {"routed_scaling_factor": 2.0}],
    ),
    _glm(
        "groups",
        "one of two groups, no biases, a quarter of each head of 16 turns, two shared experts, gelu",
        {"n_group": 2, "topk_group": 1, "attention_bias": False, "n_shared_experts": 2,
         "head_dim": 16, "partial_rotary_factor": 0.25, "hidden_act": "gelu",
         "rope_scaling": {"type": "default", "mrope_section": [1, 1]},
         "routed_scaling_factor": 1.5, "first_k_dense_replace": 0},
        matters=[{"topk_group": 2}, {"hidden_act": "silu"}, {"routed_scaling_factor": 1.0}],
    ),
    _glm(
        "defaults",
        "biases and the half that turns left to their defaults, not normalised, float16",
        {"partial_rotary_factor": 0.5, "norm_topk_prob": False, "num_key_value_heads": 4},
        dtype="F16",
        matters=[{"norm_topk_prob": True}, {"rms_norm_eps": 0.1}],
    ),
    _glm(
        "packed",
        "experts as Transformers holds them, yarn of half of each head, one key head, two dense "
        "layers of three; bfloat16, sharded",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "num_key_value_heads": 1,
         "head_dim": 16, "partial_rotary_factor": DELETE, "rope_scaling": DELETE,
         "rope_parameters": _glm_yarn(4.0)},
        dtype="BF16", packed=True, shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"rope_parameters": _glm_yarn(16.0)}, {"num_experts_per_tok": 3},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0,
                                      "mrope_section": [2, 1, 1]}}],
    ),
    _glm(
        "tied",
        "a tied head, whole heads turn, llama3, gelu by tanh, all of four experts, two of them in "
        "a group, both groups",
        {"tie_word_embeddings": True, "hidden_act": "gelu_pytorch_tanh", "n_routed_experts": 4,
         "num_experts_per_tok": 4, "n_group": 2, "topk_group": 2, "partial_rotary_factor": DELETE,
         "rope_scaling": DELETE, "rope_parameters": _LLAMA3 | {
             "rope_theta": 500.0, "partial_rotary_factor": 1.0, "mrope_section": [2, 2, 2]}},
        outer={"tie_word_embeddings": True}, prompts=(1, 7, 80),
        matters=[{"hidden_act": "relu"}, {"norm_topk_prob": False},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0,
                                      "partial_rotary_factor": 1.0, "mrope_section": [2, 2, 2]}}],
    ),
    _glm(
        "linear",
        "linear rope, num_local_experts for n_routed_experts, top 1 as it is and tripled, three "
        "shared experts, odd widths; float16, packed",
        {"num_local_experts": 5, "n_routed_experts": DELETE, "num_experts_per_tok": 1,
         "norm_topk_prob": False, "routed_scaling_factor": 3.0, "n_shared_experts": 3,
         "hidden_size": 26, "num_attention_heads": 3, "num_key_value_heads": 3,
         "moe_intermediate_size": 7, "intermediate_size": 13, "rms_norm_eps": 0.01,
         "rope_theta": 1000.0, "rope_scaling": {"rope_type": "linear", "factor": 2.5,
                                                "mrope_section": [1, 1, 1]}},
        dtype="F16", packed=True,
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 1e-05},
                 {"routed_scaling_factor": 1.0},
                 {"rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 1]}}],
    ),
]

PICTURES = [*GLM, *KIMI, *QWEN]
