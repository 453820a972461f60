# SPDX-License-Identifier: Apache-2.0
"""The golden variants of text models inside of multimodal ones."""

from .variant import BASE, Variant

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
    text = _KIMI_TEXT | text
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


def _qwen(name, description, text, outer=None, **kwargs):
    text = _QWEN_TEXT | text
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
]

_GLM_TEXT = BASE | {
    "model_type": "glm4v_moe_text", "head_dim": 12, "intermediate_size": 20,
    "moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "partial_rotary_factor": 0.5, "pad_token_id": None, "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 1]},
}
_GLM_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
               "patch_size": 2, "image_size": 8, "out_hidden_size": 32}


def _glm(name, description, text, **kwargs):
    text = _GLM_TEXT | text
    config = {"text_config": text, "vision_config": _GLM_VISION, "image_token_id": 196,
              "video_token_id": 197, "image_start_token_id": 198, "image_end_token_id": 199,
              "video_start_token_id": 200, "video_end_token_id": 201,
              "tie_word_embeddings": False}
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
]

_OMNI_TEXT = BASE | {
    "model_type": "qwen3_omni_moe_text", "head_dim": 12, "intermediate_size": 20,
    "moe_intermediate_size": 10, "num_experts": 8, "num_experts_per_tok": 2, "pad_token_id": None,
    "tie_word_embeddings": False,
}
_OMNI_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
                "patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0]}
_OMNI_AUDIO = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2,
               "encoder_ffn_dim": 16, "num_mel_bins": 8, "output_dim": 32,
               "downsample_hidden_size": 8, "max_source_positions": 16}


def _omni(name, description, text, **kwargs):
    """`matters` names changes of the text model, which stands in the thinker."""
    def config(text):
        return {"thinker_config": {
            "model_type": "qwen3_omni_moe_thinker", "text_config": text,
            "vision_config": _OMNI_VISION, "audio_config": _OMNI_AUDIO, "audio_token_id": 195,
            "image_token_id": 196, "video_token_id": 197, "vision_start_token_id": 198,
            "position_id_per_seconds": 13, "seconds_per_chunk": 2, "user_token_id": 872}}
    text = _OMNI_TEXT | text
    kwargs["matters"] = [config(text | change) for change in kwargs["matters"]]
    outer = {"enable_audio_output": False, "im_start_token_id": 200, "system_token_id": 201}
    return Variant(f"qwen3_omni_moe-{name}", "qwen3_omni_moe", description, outer | config(text),
                   **kwargs)


OMNI = [
    _omni(
        "classic",
        "as released: top 2 of 8, sections of positions, one tensor per expert",
        {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True,
         "shared_expert_intermediate_size": 0, "use_qk_norm": True, "sliding_window": None,
         "use_sliding_window": False, "rope_theta": 1000000,
         "rope_scaling": {"interleaved": True} | _SECTIONS},
        dtype="BF16", shard_bytes=60000,
        matters=[{"norm_topk_prob": False}, {"rope_theta": 100.0}, {"num_experts_per_tok": 1}],
    ),
    _omni(
        "dense",
        "every second of three layers with experts, weights not normalised, biases, float16",
        {"num_hidden_layers": 3, "decoder_sparse_step": 2, "norm_topk_prob": False,
         "attention_bias": True, "num_experts_per_tok": 3, "rms_norm_eps": 0.05},
        dtype="F16",
        matters=[{"norm_topk_prob": True}, {"rms_norm_eps": 1e-06}],
    ),
    _omni(
        "listed",
        "a dense layer by its number, multi-query, gelu",
        {"mlp_only_layers": [1], "num_key_value_heads": 1, "hidden_act": "gelu",
         "rope_theta": 500.0},
        matters=[{"hidden_act": "silu"}, {"rope_theta": 100.0}],
    ),
]

_ERNIE_TEXT = BASE | {
    "model_type": "ernie4_5_vl_moe_text", "intermediate_size": 20, "moe_num_experts": 6,
    "moe_k": 2, "moe_intermediate_size": [10, 4], "moe_num_shared_experts": 1,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
}
_ERNIE_VISION = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2,
                 "patch_size": 2}


def _ernie(name, description, text, outer, **kwargs):
    """`matters` names changes of the text model."""
    text = _ERNIE_TEXT | text
    config = {"text_config": text, "vision_config": _ERNIE_VISION, "image_token_id": 201,
              "video_token_id": 202} | outer
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"ernie4_5_vl_moe-{name}", "ernie4_5_vl_moe", description, config, **kwargs)


def _ernie_rope(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta,
                                "mrope_section": [1, 1, 2]}}


ERNIE = [
    _ernie(
        "classic",
        "as released: transposed routers of text and of pictures, whose experts stand behind those "
        "of text and are narrower, the first layer dense, tied; bfloat16, sharded",
        {"num_hidden_layers": 3, "hidden_act": "silu", "moe_norm_min": 1e-12, "use_bias": False,
         "rms_norm_eps": 1e-05, "tie_word_embeddings": True},
        {"tie_word_embeddings": True, "image_start_token_id": 203, "image_end_token_id": 204,
         "video_start_token_id": 205, "video_end_token_id": 206, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"moe_k": 3}, {"rms_norm_eps": 0.1}, _ernie_rope(100.0)],
    ),
    _ernie(
        "bias",
        "biases of all but experts, a head of its own, layers by their types, sums of weights that "
        "count as one at least, top 3, wider experts for pictures",
        {"use_bias": True, "tie_word_embeddings": False, "moe_norm_min": 1.0, "moe_k": 3,
         "num_hidden_layers": 3, "mlp_layer_types": ["sparse", "dense", "sparse"],
         "moe_intermediate_size": [6, 12], "moe_num_shared_experts": 2},
        {"tie_word_embeddings": False},
        matters=[{"moe_k": 2}, {"moe_norm_min": 1e-12}, _ernie_rope(100.0)],
    ),
    _ernie(
        "unshared",
        "no shared experts, gelu, top 1, heads of 24 numbers, another rotation; float16",
        {"moe_num_shared_experts": 0, "hidden_act": "gelu", "moe_k": 1, "num_attention_heads": 2,
         "num_key_value_heads": 1, "head_dim": 24,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500.0,
                             "mrope_section": [5, 5, 2]}},
        {},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"moe_k": 2}, {"hidden_act": "silu"}],
    ),
]

PICTURES = [*ERNIE, *OMNI, *GLM, *KIMI, *QWEN]
