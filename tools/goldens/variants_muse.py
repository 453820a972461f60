# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Muse Spark."""

from .variant import BASE, DELETE, Variant

# No width stands for another.
_TEXT = BASE | {
    "model_type": "muse_spark_text", "hidden_size": 24, "intermediate_size": 20, "head_dim": 8,
    "moe_intermediate_size": 10, "moe_hidden_size": 12, "num_local_experts": 6,
    "num_experts_per_tok": 2, "pad_token_id": None, "tie_word_embeddings": False,
}
_VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
           "intermediate_size": 8, "patch_size": 2, "pos_emb_height": 2, "pos_emb_width": 2}
_AUDIO = {"patch_sizes": [2, 2], "hidden_sizes": [4, 4], "depths": [1, 1], "num_hidden_layers": 2}
_WORDS = {"F": "full_attention", "W": "sliding_attention", "d": "dense", "s": "sparse"}


def _types(pattern):
    return [_WORDS[letter] for letter in pattern]


def _without_deleted(keys):
    return {key: value for key, value in keys.items() if value != DELETE}


def _rope(theta, **other):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | other}


def _muse(name, description, text, **kwargs):
    """`matters` names changes of the text model. All tensors are in the files, also of what looks
    at pictures and listens; experts are packed, as released."""
    text = _without_deleted(_TEXT | text)
    config = {"text_config": text, "vision_config": _VISION,
              "audio_config": _AUDIO | {"out_hidden_size": text["hidden_size"]},
              "out_hidden_size": 8, "projector_hidden_size": 8, "projector_hidden_act": "gelu",
              "image_token_id": 196, "video_token_id": 197, "audio_token_id": 198,
              "tie_word_embeddings": text["tie_word_embeddings"]}
    kwargs["matters"] = [{"text_config": _without_deleted(text | change)}
                         for change in kwargs["matters"]]
    return Variant(f"muse_spark-{name}", "muse_spark", description, config, packed=True, **kwargs)


MUSE_SPARK = [
    _muse(
        "classic",
        "as released: all keys, every fourth layer from the last sees all and does not rotate, a "
        "window of 6, one dense layer; bfloat16, sharded",
        _rope(500000.0) | {
            "num_hidden_layers": 5, "layer_types": _types("FWWWF"), "sliding_window": 6,
            "layer_rope_theta": [0, 500000.0, 500000.0, 500000.0, 0],
            "mlp_layer_types": _types("dssss"), "qk_scale_factor": 5.4730064863875,
            "output_multiplier": 0.1767766952966369, "final_logit_softcapping": 20.0,
            "post_norm_eps": 1e-08, "residual_gate_temperature": 0.3,
            "routed_scaling_factor": 1.0, "rms_norm_eps": 1e-05, "attention_bias": False,
            "attention_dropout": 0.0, "hidden_act": "silu", "initializer_range": 0.02,
            "output_router_logits": False, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 7}, {"qk_scale_factor": 4.0}, {"output_multiplier": 0.2},
                 {"final_logit_softcapping": 3.0}, {"residual_gate_temperature": 0.5},
                 {"routed_scaling_factor": 4.0, "post_norm_eps": 0.1}, {"num_experts_per_tok": 3},
                 {"layer_rope_theta": [500000.0] * 4 + [0]}, {"rms_norm_eps": 0.1}],
    ),
    _muse(
        "defaults",
        "what can be left to its default: kinds of layers and what rotates, a window that no "
        "prompt fills, all layers with experts",
        {"num_hidden_layers": 4},
        dtype="BF16",
        matters=[{"layer_types": _types("WWWW"), "sliding_window": 4},
                 {"layer_rope_theta": [0, 0, 0, 0]}, _rope(100.0), {"output_multiplier": 0.1},
                 {"qk_scale_factor": 3.0}],
    ),
    _muse(
        "mixed",
        "windows that do not rotate and layers that see all and do; biases of attention, gelu, "
        "three of five experts, wider inside than the hidden vectors; float16",
        _rope(300.0) | {
            "num_hidden_layers": 4, "layer_types": _types("WFWF"), "sliding_window": 5,
            "layer_rope_theta": [0, 300.0, 300.0, 0], "attention_bias": True,
            "hidden_act": "gelu_pytorch_tanh", "num_local_experts": 5, "num_experts_per_tok": 3,
            "moe_hidden_size": 28, "mlp_layer_types": _types("sdsd")},
        dtype="F16", prompts=(1, 4, 5, 6, 40),
        matters=[{"sliding_window": 6}, {"layer_types": _types("WFWW")}, {"hidden_act": "silu"},
                 {"layer_rope_theta": [0, 300.0, 300.0, 300.0]}, {"num_experts_per_tok": 2}],
    ),
    _muse(
        "epsilons",
        "epsilons that count, of norms before and behind; gates near their bound, one key for all "
        "heads, yarn",
        _rope(500.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=16) | {
            "num_hidden_layers": 3, "rms_norm_eps": 0.05, "post_norm_eps": 0.02,
            "residual_gate_temperature": 0.04, "num_attention_heads": 3, "num_key_value_heads": 1,
            "output_multiplier": 0.5, "final_logit_softcapping": 9.0},
        prompts=(1, 7, 40, 90),
        matters=[{"rms_norm_eps": 1e-05}, {"post_norm_eps": 1e-08},
                 {"residual_gate_temperature": 0.05}, _rope(500.0),
                 {"final_logit_softcapping": 20.0}],
    ),
    _muse(
        "top-1",
        "one expert of four, whose weight is the factor alone; wide heads",
        _rope(10000.0) | {
            "num_hidden_layers": 3, "num_local_experts": 4, "num_experts_per_tok": 1,
            "head_dim": 16, "num_attention_heads": 2,
            "num_key_value_heads": 2, "output_multiplier": 1.5, "sliding_window": 3},
        dtype="BF16", shard_bytes=40000,
        matters=[{"num_experts_per_tok": 2}, {"sliding_window": 4}, {"output_multiplier": 1.0},
                 {"qk_scale_factor": 2.0}],
    ),
    _muse(
        "dense",
        "no layer has experts",
        _rope(1000.0, rope_type="linear", factor=3.0) | {
            "num_hidden_layers": 3, "mlp_layer_types": _types("ddd"), "sliding_window": 8},
        prompts=(1, 7, 8, 9, 40),
        matters=[{"sliding_window": 9}, _rope(1000.0), {"residual_gate_temperature": 1.0}],
    ),
]
