# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Gemma 4."""

from .variant import BASE, Variant, variants_of

# Heads of 8 where layers slide, of 12 where they do not.
_TEXT = BASE | {"head_dim": 8, "global_head_dim": 12, "intermediate_size": 24, "pad_token_id": 0,
                "hidden_size_per_layer_input": 0}
_EXPERTS = {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2,
            "moe_intermediate_size": 12}
_INPUTS = {"hidden_size_per_layer_input": 6, "vocab_size_per_layer_input": 96}
_S, _F = "sliding_attention", "full_attention"

_gemma4 = variants_of("gemma4_text", _TEXT)


def _ropes(sliding, full):
    return {"rope_parameters": {_S: sliding, _F: full}}


def _default(theta):
    return {"rope_type": "default", "rope_theta": theta}


def _proportional(theta, part=0.25, **other):
    return {"rope_type": "proportional", "rope_theta": theta, "partial_rotary_factor": part} | other


_ROPES = _ropes(_default(10000.0), _proportional(1000000.0))

GEMMA4 = [
    _gemma4(
        "experts",
        "as 26B: 6 experts, top 2, beside a dense network; five of six layers slide (16) and the "
        "last does not; keys are values where attention is full, one head of them; scalars of "
        "layers, capped logits",
        _EXPERTS | _ROPES | {
            "num_hidden_layers": 7, "hidden_size": 24, "global_head_dim": 16,
            "moe_intermediate_size": 6, "attention_k_eq_v": True, "num_global_key_value_heads": 1,
            "sliding_window": 16, "final_logit_softcapping": 30.0, "use_double_wide_mlp": False,
            "use_bidirectional_attention": "vision", "num_kv_shared_layers": 0,
            "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False,
            "tie_word_embeddings": True, "vocab_size_per_layer_input": 96},
        dtype="BF16", prompts=(1, 7, 17, 50), greedy_prompt=10,
        matters=[{"sliding_window": 17}, {"sliding_window": 15}, {"top_k_experts": 3},
                 {"final_logit_softcapping": None}, {"hidden_activation": "silu"},
                 _ropes(_default(100.0), _proportional(1000000.0)),
                 _ropes(_default(10000.0), _proportional(100.0)),
                 _ropes(_default(10000.0), _proportional(1000000.0, 1.0)),
                 {"rms_norm_eps": 0.1}],
    ),
    _gemma4(
        "small",
        "as E2B: embeddings of each layer, the last three layers read keys of earlier ones and "
        "are twice as wide, multi-query, no experts",
        _INPUTS | _ROPES | {
            "num_hidden_layers": 6, "layer_types": [_S, _S, _F, _S, _S, _F],
            "num_key_value_heads": 1, "num_kv_shared_layers": 3, "use_double_wide_mlp": True,
            "hidden_size": 24, "intermediate_size": 12, "sliding_window": 16, "global_head_dim": 16,
            "final_logit_softcapping": 30.0, "enable_moe_block": False, "num_experts": None,
            "top_k_experts": None, "moe_intermediate_size": None,
            "num_global_key_value_heads": None, "use_bidirectional_attention": None},
        dtype="BF16", prompts=(1, 7, 17, 50), greedy_prompt=10,
        matters=[{"sliding_window": 17}, {"rms_norm_eps": 0.1},
                 {"final_logit_softcapping": 2.0}, {"hidden_activation": "relu"},
                 _ropes(_default(10000.0), _proportional(100.0))],
    ),
    _gemma4(
        "everything",
        "experts, embeddings of each layer and shared keys together, keys are values with as many "
        "heads as elsewhere, biases of attention, own head, silu, sharded",
        _EXPERTS | _INPUTS | {
            "num_hidden_layers": 5, "layer_types": [_S, _F, _S, _F, _F],
            "num_kv_shared_layers": 2, "use_double_wide_mlp": False, "attention_k_eq_v": True,
            "attention_bias": True, "tie_word_embeddings": False, "hidden_activation": "silu",
            "hidden_size": 24, "vocab_size_per_layer_input": 100, "sliding_window": 12},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40),
        matters=[{"hidden_activation": "gelu_pytorch_tanh"}, {"top_k_experts": 3},
                 {"sliding_window": 13}, _ropes(_default(100.0), _proportional(1000000.0))],
    ),
    _gemma4(
        "dense",
        "as 31B: keys are values, three heads of them, no experts and no embeddings of layers; "
        "kinds by default, all slide but the last; own head, float16",
        {"num_hidden_layers": 3, "tie_word_embeddings": False, "num_attention_heads": 6,
         "num_key_value_heads": 2, "num_global_key_value_heads": 3, "attention_k_eq_v": True,
         "hidden_size": 40, "global_head_dim": 16, "rms_norm_eps": 1e-06,
         "final_logit_softcapping": 20.0},
        dtype="F16",
        matters=[{"final_logit_softcapping": None}, {"sliding_window": 8},
                 _ropes(_default(10000.0), _proportional(1000.0))],
    ),
    _gemma4(
        "layers",
        "as newer files are written: heads by layer in per_layer_config, those of sliding layers, "
        "too; linear where they slide, proportional with a factor and more pairs elsewhere",
        _EXPERTS | _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
                          _proportional(50.0, 0.7, factor=2.0)) | {
            "num_hidden_layers": 4, "layer_types": [_S, _F, _S, _S], "global_head_dim": 20,
            "per_layer_config": {"0": {"head_dim": 8, "num_key_value_heads": 4},
                                 "1": {"head_dim": 20, "num_key_value_heads": 2},
                                 "2": {"num_key_value_heads": 4}, "3": {"head_dim": 20}},
            "hidden_size": 24, "moe_intermediate_size": 8, "sliding_window": 20},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[_ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
                        _proportional(50.0, 0.7, factor=2.0)),
                 _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
                        _proportional(50.0, 0.7)),
                 _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
                        _proportional(50.0, 0.5, factor=2.0)), {"top_k_experts": 1}],
    ),
    _gemma4(
        "full",
        "no layer slides; global heads that do not count, since keys are not values; yarn over "
        "the whole head; relu; one expert for each token",
        _EXPERTS | {
            "layer_types": [_F] * 3, "num_hidden_layers": 3, "num_global_key_value_heads": 4,
            "top_k_experts": 1, "hidden_activation": "relu", "hidden_size": 24,
            "rope_parameters": {_F: {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                     "original_max_position_embeddings": 32}}},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {_F: _default(100.0)}}, {"hidden_activation": "silu"},
                 {"top_k_experts": 2}],
    ),
    _gemma4(
        "inputs",
        "embeddings of each layer beside experts, keys of one layer for all that follow, a window "
        "of 512 by default, half of the pairs turn; float16, sharded",
        _EXPERTS | _INPUTS | _ropes(_default(50.0), _proportional(100.0, 0.5)) | {
            "num_hidden_layers": 4, "layer_types": [_F, _F, _F, _F], "num_kv_shared_layers": 3,
            "use_double_wide_mlp": True, "hidden_size_per_layer_input": 10, "hidden_size": 16,
            "num_attention_heads": 2, "num_key_value_heads": 1, "final_logit_softcapping": 8.0},
        dtype="F16", shard_bytes=20000,
        matters=[_ropes(_default(50.0), _proportional(100.0, 1.0)), {"top_k_experts": 3},
                 {"final_logit_softcapping": None}],
    ),
]

_VISION = {"model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16,
           "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
           "head_dim": 8, "patch_size": 2, "position_embedding_size": 16}
_AUDIO = {"model_type": "gemma4_audio", "hidden_size": 16, "num_hidden_layers": 1,
          "num_attention_heads": 2, "subsampling_conv_channels": [4, 2], "output_proj_dims": 16,
          "attention_chunk_size": 4, "attention_context_left": 5}
# Ids of pictures and sounds are beyond the vocabulary: Transformers looks for them in every text.
_IDS = {"boi_token_id": 201, "eoi_token_id": 202, "image_token_id": 203, "video_token_id": 204,
        "boa_token_id": 205, "eoa_token_id": 206, "eoa_token_index": 206, "audio_token_id": 207}


def _multimodal(name, description, text, outer, **kwargs):
    """`matters` names changes of the text model."""
    text = _TEXT | {"model_type": "gemma4_text", "hidden_size": 24} | text
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"gemma4-{name}", "gemma4", description, {"text_config": text} | outer, **kwargs)


MULTIMODAL = [
    _multimodal(
        "pictures",
        "as 26B is published: experts, keys that are values, no ears",
        _EXPERTS | _ROPES | {"num_hidden_layers": 6, "attention_k_eq_v": True, "dtype": "bfloat16",
                             "num_global_key_value_heads": 1, "sliding_window": 16,
                             "final_logit_softcapping": 30.0,
                             "use_bidirectional_attention": "vision"},
        _IDS | {"vision_config": _VISION, "audio_config": None, "dtype": "bfloat16",
                "tie_word_embeddings": True, "initializer_range": 0.02,
                "vision_soft_tokens_per_image": 280},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40), greedy_prompt=10,
        matters=[{"top_k_experts": 3}, {"sliding_window": 15}, {"final_logit_softcapping": None}],
    ),
    _multimodal(
        "sounds",
        "as E2B is published: embeddings of each layer, shared keys, whose layers have some of "
        "their own that nobody reads; eyes and ears",
        _INPUTS | {"num_hidden_layers": 6, "layer_types": [_S, _F, _S, _F, _S, _F],
                   "num_kv_shared_layers": 2, "use_double_wide_mlp": True, "sliding_window": 12,
                   "global_head_dim": 8, "num_key_value_heads": 1},
        _IDS | {"vision_config": _VISION, "audio_config": _AUDIO},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"sliding_window": 13}, {"hidden_activation": "silu"}],
    ),
    _multimodal(
        "text",
        "neither eyes nor ears, own head",
        _EXPERTS | {"num_hidden_layers": 2, "tie_word_embeddings": False},
        {"tie_word_embeddings": False},
        matters=[{"top_k_experts": 1}, {"sliding_window": 8}],
    ),
    _multimodal(
        "layers",
        "as newer files are written: heads by layer in per_layer_config, linear where layers slide "
        "and proportional with a factor elsewhere, keys that two layers lend; float16, sharded",
        _EXPERTS | _INPUTS | _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
                          _proportional(50.0, 0.7, factor=2.0)) | {
            "num_hidden_layers": 4, "layer_types": [_S, _F, _S, _F], "num_kv_shared_layers": 2,
            "per_layer_config": {"0": {"num_key_value_heads": 4},
                                 "1": {"head_dim": 20, "num_key_value_heads": 2},
                                 "2": {"num_key_value_heads": 4}, "3": {"head_dim": 20}},
            "moe_intermediate_size": 8, "sliding_window": 20, "num_experts": 4},
        _IDS | {"vision_config": None, "audio_config": None},
        dtype="F16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"top_k_experts": 1}, {"sliding_window": 12},
                 _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
                        _proportional(50.0, 0.7, factor=2.0)),
                 _ropes({"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
                        _proportional(50.0, 0.5, factor=2.0))],
    ),
    _multimodal(
        "everything",
        "experts, embeddings of each layer, which has more of them than tokens, and shared keys "
        "together, keys are values where nothing slides, biases, own head, silu",
        _EXPERTS | _INPUTS | {
            "num_hidden_layers": 5, "layer_types": [_S, _F, _S, _F, _F],
            "num_kv_shared_layers": 2, "attention_k_eq_v": True, "attention_bias": True,
            "tie_word_embeddings": False, "hidden_activation": "silu", "rms_norm_eps": 0.01,
            "vocab_size_per_layer_input": 100, "sliding_window": 12, "moe_intermediate_size": 5,
            "num_experts": 5, "intermediate_size": 10, "hidden_size": 16},
        _IDS | {"tie_word_embeddings": False, "vision_config": _VISION}, prompts=(1, 7, 40),
        matters=[{"hidden_activation": "relu"}, {"top_k_experts": 3}, {"sliding_window": 13},
                 {"rms_norm_eps": 1e-06}, _ropes(_default(100.0), _proportional(1000000.0))],
    ),
    _multimodal(
        "full",
        "no layer slides; yarn over the whole head, one expert for each token, relu, three heads "
        "of keys, logits that a cap holds; bfloat16",
        _EXPERTS | {
            "layer_types": [_F] * 3, "num_hidden_layers": 3, "top_k_experts": 1,
            "hidden_activation": "relu", "num_attention_heads": 6, "num_key_value_heads": 3,
            "final_logit_softcapping": 4.0, "moe_intermediate_size": 7, "intermediate_size": 13,
            "rope_parameters": {_F: {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                     "original_max_position_embeddings": 32}}},
        _IDS | {"audio_config": _AUDIO},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {_F: _default(100.0)}}, {"hidden_activation": "silu"},
                 {"top_k_experts": 2}, {"final_logit_softcapping": 30.0}],
    ),
]
