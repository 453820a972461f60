# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Muse Glimmer, which is Muse Spark without experts."""

from .variant import BASE, Variant

_TEXT = BASE | {
    "model_type": "muse_glimmer_text", "hidden_size": 24, "intermediate_size": 20, "head_dim": 8,
    "pad_token_id": None, "tie_word_embeddings": False,
}
_VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
           "intermediate_size": 8, "patch_size": 2, "pos_emb_height": 2, "pos_emb_width": 2}
_WORDS = {"F": "full_attention", "W": "sliding_attention"}


def _types(pattern):
    return [_WORDS[letter] for letter in pattern]


def _rope(theta, **other):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | other}


def _glimmer(name, description, text, **kwargs):
    """`matters` names changes of the text model; all tensors are in the files."""
    text = _TEXT | text
    config = {"text_config": text, "vision_config": _VISION, "out_hidden_size": 8,
              "projector_hidden_size": 8, "projector_hidden_act": "gelu",
              "image_token_id": 196, "video_token_id": 197,
              "tie_word_embeddings": text["tie_word_embeddings"]}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"muse_glimmer-{name}", "muse_glimmer", description, config, **kwargs)


MUSE_GLIMMER = [
    _glimmer(
        "classic",
        "as released: all keys, every fourth layer from the last sees all and does not rotate, a "
        "window of 6; bfloat16, sharded",
        _rope(500000.0) | {
            "num_hidden_layers": 5, "layer_types": _types("FWWWF"), "sliding_window": 6,
            "layer_rope_theta": [0, 500000.0, 500000.0, 500000.0, 0], "qk_scale_factor": 3.87,
            "output_multiplier": 0.19611613513818404, "final_logit_softcapping": 20.0,
            "post_norm_eps": 1e-08, "rms_norm_eps": 1e-05, "attention_bias": False,
            "attention_dropout": 0.0, "hidden_activation": "silu", "initializer_range": 0.02,
            "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 7}, {"qk_scale_factor": 3.0}, {"output_multiplier": 0.25},
                 {"final_logit_softcapping": 3.0}, {"rms_norm_eps": 0.1}, {"post_norm_eps": 0.1},
                 {"layer_rope_theta": [500000.0] * 4 + [0]}],
    ),
    _glimmer(
        "defaults",
        "what can be left to its default: kinds of layers, what rotates and by what, a window that "
        "no prompt fills",
        {"num_hidden_layers": 6},
        dtype="BF16",
        matters=[{"layer_types": _types("WWWWWW"), "sliding_window": 4},
                 {"layer_rope_theta": [0] * 6}, _rope(100.0), {"output_multiplier": 0.1},
                 {"qk_scale_factor": 2.0}, {"post_norm_eps": 0.1}],
    ),
    _glimmer(
        "mixed",
        "windows that do not rotate and layers that see all and do; biases of attention, gelu, "
        "epsilons that count, one key for all heads, yarn; float16",
        _rope(500.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=16) | {
            "num_hidden_layers": 4, "layer_types": _types("WFWF"), "sliding_window": 5,
            "layer_rope_theta": [0, 500.0, 500.0, 0], "attention_bias": True,
            "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 0.05, "post_norm_eps": 0.02,
            "num_attention_heads": 3, "num_key_value_heads": 1, "output_multiplier": 0.5,
            "final_logit_softcapping": 9.0},
        dtype="F16", prompts=(1, 4, 5, 6, 40, 90),
        matters=[{"sliding_window": 6}, {"layer_types": _types("WFWW")}, _rope(500.0),
                 {"hidden_activation": "silu"}, {"layer_rope_theta": [0, 500.0, 500.0, 500.0]},
                 {"rms_norm_eps": 1e-05}, {"post_norm_eps": 1e-08}],
    ),
    _glimmer(
        "tied",
        "the head is the embedding; wide heads, as many of keys as of queries, linear rotations",
        _rope(1000.0, rope_type="linear", factor=3.0) | {
            "num_hidden_layers": 3, "head_dim": 16, "num_attention_heads": 2,
            "num_key_value_heads": 2, "sliding_window": 3, "tie_word_embeddings": True,
            "output_multiplier": 1.25},
        dtype="BF16",
        matters=[{"sliding_window": 4}, _rope(1000.0), {"output_multiplier": 1.0},
                 {"qk_scale_factor": 2.0}],
    ),
]
