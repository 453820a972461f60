# SPDX-License-Identifier: Apache-2.0
"""The golden variants of dots3.note."""

from .variant import BASE, DELETE, Variant, variants_of
from .variants_latent import MLA, MOE

# Index heads of 12, of which the first 8 turn, as many as of a head of a part of 32.
_TEXT = BASE | MLA | MOE | {
    "head_dim": 32, "index_topk": 8, "index_n_heads": 12, "index_head_dim": 12,
    "shared_experts_intermediate_size": 6, "pad_token_id": None, "tie_word_embeddings": False,
}
# Three heads of 10 + 6, values of 7: no width is one of the layers without a window.
_WINDOW = {
    "num_attention_heads": 3, "num_key_value_heads": 3, "q_lora_rank": 20, "kv_lora_rank": 18,
    "head_dim": 16, "qk_nope_head_dim": 10, "qk_rope_head_dim": 6, "v_head_dim": 7,
}
_SWA = {f"swa_{key}": value for key, value in _WINDOW.items()}
_WORDS = {"F": "full_attention", "I": "indexed_attention", "W": "sliding_attention",
          "d": "dense", "s": "sparse"}
_VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
           "num_attention_heads": 2, "patch_size": 2, "mlp_layer_types": ["dense"],
           "adapter_in_dim": 8}
_AUDIO = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
          "num_attention_heads": 2, "feature_size": 8, "downsample_hidden_size": 4,
          "adapter_input_size": 8}


def _types(pattern):
    return [_WORDS[letter] for letter in pattern]


def _ropes(**kinds):
    """Of each kind the theta, or all of its entry."""
    return {"rope_parameters": {
        _WORDS[kind]: entry if isinstance(entry, dict)
        else {"rope_type": "default", "rope_theta": entry} for kind, entry in kinds.items()}}


def _beside(hidden):
    return {"vision_config": _VISION | {"adapter_out_dim": hidden},
            "audio_config": _AUDIO | {"adapter_out_dim": hidden},
            "image_token_id": 196, "video_token_id": 197, "audio_token_id": 198}


def _nested(name, description, text, **kwargs):
    """As Transformers writes it: `matters` names changes of the text model."""
    text = _TEXT | {"model_type": "dots3_note_text"} | text
    config = {"text_config": text, "tie_word_embeddings": text["tie_word_embeddings"],
              **_beside(text["hidden_size"])}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"dots3_note-{name}", "dots3_note", description, config, **kwargs)


_published = variants_of("dots3_note", _TEXT | _SWA | _beside(24) | {
    "architectures": ["Dots3NoteForCausalLM"], "hidden_size": 24})
_text = variants_of("dots3_note_text", _TEXT)

DOTS3 = [
    _published(
        "classic",
        "as released: the authors' keys in the file itself, a window in three of six layers, "
        "others choose keys, one dense layer, one tensor per expert; bfloat16, sharded",
        {"num_hidden_layers": 6, "layer_types": _types("FFWWWF"), "use_dsa": True,
         "use_sliding_window": True, "sliding_window_size": 6, "rope_theta": 80000000.0,
         "swa_rope_theta": 50000.0, "rope_scaling": None, "k_rope_only_layernorm": None,
         "apply_mla_qkv_lora_rescale": True, "attention_gate_type": "headwise",
         "swa_attention_gate_type": "headwise", "multi_latent_attention": True,
         "qk_layernorm": True, "normalization": "RMSNorm", "final_norm": "RMSNorm",
         "softmax_type": "vanilla", "scoring_func": "sigmoid", "topk_method": "noaux_tc",
         "use_dynamic_rsf": False, "moe_gating_fp32": False, "moe_layer_freq": 1,
         "first_k_dense_replace": 1, "moe_topk": 3, "norm_topk_prob": True,
         "routed_scaling_factor": 1.0, "shared_experts_intermediate_size": DELETE,
         "moe_shared_expert_intermediate_size": 10, "moe_intermediate_size": 6,
         "n_routed_experts": 6, "num_nextn_predict_layers": 0, "seq_length": 393216,
         "attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
         "initializer_range": 0.02, "rms_norm_eps": 1e-05, "torch_dtype": "bfloat16",
         "image_start_token_id": 199, "image_end_token_id": 200, "audio_start_token_id": 201,
         "audio_end_token_id": 202},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"sliding_window_size": 7},
                 {"swa_rope_theta": 100.0}, {"rope_theta": 100.0}, {"num_experts_per_tok": 2},
                 {"norm_topk_prob": False}, {"routed_scaling_factor": 2.5}, {"rms_norm_eps": 0.1}],
    ),
    _nested(
        "saved",
        "as Transformers saves it: per_layer_config has what layers with a window do not share, "
        "a rotation for each kind; a dense layer among others",
        {"num_hidden_layers": 4, "layer_types": _types("WIWI"), "sliding_window": 5,
         "mlp_layer_types": _types("sdss"), "qk_nope_head_dim": 10, "index_topk": 5,
         "per_layer_config": {place: {key: value for key, value in _WINDOW.items()
                                      if key != "qk_nope_head_dim"} for place in ("0", "2")},
         "moe_intermediate_size": 6, "n_routed_experts": 6, "dtype": "float32"}
        | _ropes(I={"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 0.25},
                 W={"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.375}),
        prompts=(1, 5, 6, 40),
        matters=[{"index_topk": 64}, {"sliding_window": 4}, _ropes(I=50.0, W=50.0),
                 _ropes(I=1000.0, W=1000.0)],
    ),
    _nested(
        "modules",
        "names of Transformers' modules, packed: attention_bias, 2 of 4 groups, weights as they "
        "are, two shared experts, gelu, heads of both kinds alike in numbers; float16",
        {"num_hidden_layers": 4, "attention_bias": True, "n_group": 4, "topk_group": 2,
         "norm_topk_prob": False, "n_shared_experts": 2, "routed_scaling_factor": 1.5,
         "shared_experts_intermediate_size": 5, "hidden_act": "gelu_pytorch_tanh",
         "sliding_window": 7, "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2,
         "swa_q_lora_rank": 16, "swa_kv_lora_rank": 24, "swa_head_dim": 20,
         "swa_qk_nope_head_dim": 12, "swa_v_head_dim": 10, "moe_intermediate_size": 6},
        dtype="F16", packed=True,
        matters=[{"index_topk": 64}, {"sliding_window": 6}, {"topk_group": 4},
                 {"norm_topk_prob": True}, {"hidden_act": "silu"}, {"rope_theta": 100.0}],
    ),
    _text(
        "mtp",
        "the text model alone; the layer behind the last predicts a second token and is not run; "
        "yarn where keys are chosen, linear in windows",
        _SWA | {"num_hidden_layers": 4, "layer_types": _types("IWWI"), "sliding_window": 6,
                "num_nextn_predict_layers": 1, "index_topk": 6, "moe_intermediate_size": 6,
                "first_k_dense_replace": 2}
        | _ropes(I={"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                    "original_max_position_embeddings": 16},
                 W={"rope_type": "linear", "rope_theta": 100.0, "factor": 3.0}),
        dtype="BF16", prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 64}, _ropes(I=1000.0, W={"rope_type": "linear", "rope_theta": 100.0,
                                                         "factor": 3.0}),
                 _ropes(I={"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0,
                           "original_max_position_embeddings": 16}, W=100.0)],
    ),
    _text(
        "windows",
        "all layers have a window, of one token less than a page; listed ones have experts, of "
        "which one is chosen; epsilons that count, tied",
        _SWA | {"num_hidden_layers": 3, "layer_types": _types("WWW"), "sliding_window": 15,
                "moe_layer_freq": [1, 0, 1], "first_k_dense_replace": 0, "num_experts_per_tok": 1,
                "rms_norm_eps": 0.05, "tie_word_embeddings": True, "swa_rope_theta": 500.0,
                "routed_scaling_factor": 3.0, "norm_topk_prob": False},
        prompts=(1, 15, 16, 50),
        matters=[{"sliding_window": 16}, {"rms_norm_eps": 1e-5}, {"swa_rope_theta": 50.0},
                 {"num_experts_per_tok": 2}, {"norm_topk_prob": True}],
    ),
    _text(
        "full",
        "no layer chooses keys, and none has a window; one head with a value wider than its key, "
        "every second layer has experts",
        {"num_hidden_layers": 3, "use_dsa": False, "use_sliding_window": False,
         "num_attention_heads": 1, "num_key_value_heads": 1, "v_head_dim": 24, "kv_lora_rank": 40,
         "moe_layer_freq": 2, "first_k_dense_replace": 0, "rope_theta": 300.0},
        dtype="F16", shard_bytes=40000,
        matters=[{"rope_theta": 50.0}, {"num_experts_per_tok": 2}],
    ),
    _text(
        "alike",
        "per_layer_config says nothing: layers with a window have the numbers of the others, which "
        "see all; one of two groups",
        {"num_hidden_layers": 3, "layer_types": _types("FWW"), "per_layer_config": {},
         "head_dim": 20, "sliding_window": 4, "n_group": 2, "topk_group": 1,
         "moe_intermediate_size": 6} | _ropes(F=1000.0, W=100.0),
        dtype="BF16",
        matters=[{"sliding_window": 5}, _ropes(F=50.0, W=100.0), _ropes(F=1000.0, W=50.0),
                 {"topk_group": 2}],
    ),
]
