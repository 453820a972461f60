# SPDX-License-Identifier: Apache-2.0
"""The golden variants of more text models inside of multimodal ones."""

from .variant import BASE, DELETE, Variant, inner

_SECTIONS = {"mrope_interleaved": True, "mrope_section": [2, 2, 2], "rope_type": "default"}

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


def _yarn(factor):
    return {"rope_type": "yarn", "rope_theta": 100.0, "factor": factor,
            "mrope_interleaved": True, "mrope_section": [3, 3, 2],
            "original_max_position_embeddings": 32}


def _omni(name, description, text, thinker=None, **kwargs):
    """`matters` names changes of the text model, which stands in the thinker."""
    def config(text):
        return {"thinker_config": {
            "model_type": "qwen3_omni_moe_thinker", "text_config": text,
            "vision_config": _OMNI_VISION, "audio_config": _OMNI_AUDIO, "audio_token_id": 195,
            "image_token_id": 196, "video_token_id": 197, "vision_start_token_id": 198,
            "position_id_per_seconds": 13, "seconds_per_chunk": 2, "user_token_id": 872}
            | (thinker or {})}
    text = inner(_OMNI_TEXT, text)
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
    _omni(
        "yarn",
        "yarn beside sections, heads of 16 that no key says, top 1 as it is; float16, sharded",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": DELETE,
         "num_experts_per_tok": 1, "norm_topk_prob": False, "rope_parameters": _yarn(4.0)},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"num_experts_per_tok": 2}, {"norm_topk_prob": True},
                 {"rope_parameters": _yarn(16.0)},
                 {"rope_parameters": _SECTIONS | {"rope_theta": 100.0}}],
    ),
    _omni(
        "llama3",
        "llama3 beside sections, as many key heads as heads, all of four experts, relu, every layer "
        "sparse but the one listed; bfloat16",
        {"num_key_value_heads": 4, "num_experts": 4, "num_experts_per_tok": 4,
         "hidden_act": "relu", "num_hidden_layers": 4, "mlp_only_layers": [0, 3],
         "moe_intermediate_size": 6, "rope_theta": 500.0,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
                          "mrope_section": [2, 2, 2], "interleaved": True}},
        dtype="BF16", prompts=(1, 7, 80),
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 2},
                 {"rope_scaling": _SECTIONS}],
    ),
    _omni(
        "tied",
        "a tied head, linear rope of the old style, biases, widths that no vector has, no sections",
        {"tie_word_embeddings": True, "attention_bias": True, "hidden_size": 24, "head_dim": 10,
         "num_attention_heads": 3, "num_key_value_heads": 1, "moe_intermediate_size": 7,
         "num_experts": 5, "num_experts_per_tok": 3, "hidden_act": "gelu_pytorch_tanh",
         "rope_theta": 1000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
        thinker={"tie_word_embeddings": True},
        matters=[{"hidden_act": "relu"}, {"num_experts_per_tok": 2}, {"rope_scaling": None}],
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
    text = inner(_ERNIE_TEXT, text)
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
    _ernie(
        "sparse",
        "all layers sparse, the other name of the architecture, rotations and their sections in "
        "rope_scaling and beside it, as many key heads as heads, relu; bfloat16",
        {"mlp_layer_types": ["sparse", "sparse"], "num_key_value_heads": 4, "hidden_act": "relu",
         "moe_norm_min": 0.4, "rope_parameters": DELETE, "rope_theta": 300.0,
         "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}},
        {"architectures": ["Ernie4_5_VL_MoeForConditionalGeneration"]},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"moe_norm_min": 1e-12}, {"rope_theta": 10.0}],
    ),
    _ernie(
        "defaults",
        "two shared experts, theta, the tied head and the dense layer by default; biases beside "
        "gelu by tanh, sections of one pair each, three heads; float16, sharded",
        {"moe_num_shared_experts": DELETE, "use_bias": True, "hidden_act": "gelu_pytorch_tanh",
         "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 3,
         "hidden_size": 18, "rope_parameters": {"rope_type": "default",
                                                "mrope_section": [1, 1, 1]}},
        {}, dtype="F16", shard_bytes=20000,
        matters=[{"hidden_act": "relu"}, {"moe_k": 1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 10.0,
                                      "mrope_section": [1, 1, 1]}}],
    ),
    _ernie(
        "dense",
        "one layer of four with experts, all four of them, as wide as those of pictures, one key "
        "head of five pairs, an epsilon that counts",
        {"num_hidden_layers": 4, "mlp_layer_types": ["dense", "dense", "sparse", "dense"],
         "moe_num_experts": 4, "moe_k": 4, "moe_intermediate_size": [7, 7],
         "num_key_value_heads": 1, "head_dim": 10, "rms_norm_eps": 0.05, "hidden_size": 26,
         "tie_word_embeddings": False,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                             "mrope_section": [2, 2, 1]}},
        {"tie_word_embeddings": False},
        matters=[{"rms_norm_eps": 1e-06}, {"moe_k": 2}],
    ),
]

WRAPPED = [*ERNIE, *OMNI]
