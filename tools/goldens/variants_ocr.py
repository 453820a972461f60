# SPDX-License-Identifier: Apache-2.0
"""The golden variants of text models of families that read pages.

Windows of Unlimited-OCR change nothing in a prompt, so no `matters` names them: continuations are
longer than they are, and are not those of an uncached forward (`continuation_recomputed`)."""

from .variant import BASE, DELETE, Variant, inner

_TEXT = BASE | {
    "num_key_value_heads": 4, "intermediate_size": 20, "moe_intermediate_size": 8,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "mlp_layer_types": ["dense", "sparse"],
    "pad_token_id": None, "tie_word_embeddings": False,
}
_SAM = {"hidden_size": 8, "output_channels": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8, "window_size": 2, "global_attn_indexes": [0],
        "mlp_dim": 8, "downsample_channels": [4, 8]}
_ENCODER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2}
_GROUPS = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
# What the authors' language_config has beside it, and, once more, the file.
_AUTHORS = {"kv_lora_rank": None, "q_lora_rank": None, "qk_nope_head_dim": 0,
            "qk_rope_head_dim": 0, "v_head_dim": 8, "use_mla": False, "lm_head": True,
            "rm_head": False, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
            "topk_method": "greedy", "n_shared_experts": 2}


def _layers(kinds):
    names = {"d": "dense", "s": "sparse", "f": "full_attention", "r": "reference_sliding_attention"}
    return [names[kind] for kind in kinds]


def _rope(theta, **other):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | other}


def _yarn(factor):
    return _rope(100.0, rope_type="yarn", factor=factor, original_max_position_embeddings=32)


def _llama3(factor):
    return _rope(500.0, rope_type="llama3", factor=factor, low_freq_factor=1.0,
                 high_freq_factor=4.0, original_max_position_embeddings=32)


def _family(model_type, encoder, usual):
    vision = {"sam_config": _SAM, "encoder_config": _ENCODER | encoder}

    def variant(name, description, text, outer=None, place="text_config", **fields):
        """`matters` names changes of the text model, whose keys stand at `place`."""
        text = inner(_TEXT | usual, text)
        config = {place: text, "vision_config": vision, "image_token_id": 196,
                  "tie_word_embeddings": text["tie_word_embeddings"]} | (outer or {})
        fields["matters"] = [{place: inner(text, change)} for change in fields["matters"]]
        return Variant(f"{model_type}-{name}", model_type, description, config, **fields)
    return variant


_pages = _family("deepseek_ocr2", {"num_key_value_heads": 2, "vocab_size": 4}, {})
_unlimited = _family("unlimited_ocr", {"image_size": 16, "patch_size": 8}, {"sliding_window": 5})

DEEPSEEK_OCR_2 = [
    _pages(
        "classic",
        "as released: top 3 of 8 beside two shared ones, a dense layer, keys of Transformers, what "
        "stands between pages and text; bfloat16, sharded",
        _rope(10000.0) | {
            "num_hidden_layers": 3, "mlp_layer_types": _layers("dss"), "attention_bias": False,
            "mlp_bias": False, "head_dim": 8, "hidden_act": "silu", "n_group": 1, "topk_group": 1,
            "topk_method": "greedy", "n_shared_experts": 2, "routed_scaling_factor": 1.0,
            "rms_norm_eps": 1e-06, "pretraining_tp": 1, "output_router_logits": False,
            "model_type": "deepseek_ocr2_text", "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"num_experts_per_tok": 2}, {"routed_scaling_factor": 2.0}, _rope(100.0),
                 {"rms_norm_eps": 0.1}],
    ),
    _pages(
        "groups",
        "two of four groups, weights two and a half times as they are, one shared expert, two "
        "heads of keys, gelu",
        _GROUPS | {"routed_scaling_factor": 2.5, "n_shared_experts": 1, "num_key_value_heads": 2,
                   "hidden_act": "gelu"},
        matters=[{"topk_group": 4}, {"topk_method": "greedy"}, {"routed_scaling_factor": 1.0},
                 {"hidden_act": "silu"}, {"n_group": 2, "topk_group": 1}],
    ),
    _pages(
        "biases",
        "biases of attention, of dense layers and of shared experts, a tied head, linear rotations "
        "by older keys, a dense layer among others; float16",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
         "num_hidden_layers": 3, "mlp_layer_types": _layers("sds"), "rope_theta": 1000.0,
         "rope_scaling": {"rope_type": "linear", "factor": 2.5}},
        dtype="F16",
        matters=[{"num_experts_per_tok": 1}, {"rope_theta": 10.0}, {"rope_scaling": None}],
    ),
    _pages(
        "yarn",
        "yarn, one key head, two heads of 16, top 1, every layer with experts, an epsilon that "
        "counts; bfloat16, sharded",
        _yarn(4.0) | {"num_attention_heads": 2, "num_key_value_heads": 1, "num_experts_per_tok": 1,
                      "mlp_layer_types": _layers("ss"), "rms_norm_eps": 0.01,
                      "routed_scaling_factor": 1.5},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 80),
        matters=[{"num_experts_per_tok": 2}, _yarn(16.0), {"rms_norm_eps": 1e-06}, _rope(100.0)],
    ),
    _pages(
        "llama3",
        "llama3, three heads, relu, three shared experts, all of five experts, two dense layers of "
        "three, whatever first_k_dense_replace says, widths that no vector has; float16",
        _llama3(8.0) | {
            "hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 3,
            "num_hidden_layers": 3, "mlp_layer_types": _layers("dsd"), "first_k_dense_replace": 0,
            "hidden_act": "relu", "n_routed_experts": 5, "num_experts_per_tok": 5,
            "n_shared_experts": 3, "moe_intermediate_size": 7, "intermediate_size": 13},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"num_experts_per_tok": 2}, _llama3(2.0), {"hidden_act": "silu"}],
    ),
    _pages(
        "defaults",
        "what can be left to its default: heads of keys, two shared experts, weights as they are, "
        "greedy, the rotations",
        {"num_key_value_heads": DELETE, "tie_word_embeddings": False, "num_experts_per_tok": 2,
         "pad_token_id": DELETE},
        matters=[{"num_experts_per_tok": 3}, _rope(100.0), {"routed_scaling_factor": 2.0}],
    ),
]

_published = inner(_TEXT, _AUTHORS | {
    "mlp_layer_types": DELETE, "sliding_window_size": 6,
    "architectures": ["DeepseekOCRForCausalLM"], "torch_dtype": "bfloat16"})

UNLIMITED_OCR = [
    _unlimited(
        "published",
        "the authors' file: language_config, most of it once more outside, where the window is; "
        "bfloat16, sharded",
        {key: value for key, value in _published.items() if key not in _TEXT}
        | {"mlp_layer_types": DELETE, "sliding_window": DELETE},
        {key: value for key, value in _published.items() if key != "architectures"} | {
            "architectures": ["UnlimitedOCRForCausalLM"], "sliding_window": 6,
            "candidate_resolutions": [[1024, 1024]], "global_view_pos": "head", "tile_tag": "2D",
            "projector_config": {"input_dim": 16, "model_type": "mlp_projector", "n_embed": 32,
                                 "projector_type": "linear"},
            "auto_map": {"AutoConfig": "modeling_unlimitedocr.UnlimitedOCRConfig"}},
        place="language_config", dtype="BF16", shard_bytes=40000,
        matters=[{"num_experts_per_tok": 2}, {"routed_scaling_factor": 2.0}, _rope(100.0)],
    ),
    _unlimited(
        "saved",
        "as Transformers saves it; one of three layers without a window, a dense one",
        _rope(10000.0) | {
            "num_hidden_layers": 3, "mlp_layer_types": _layers("dss"),
            "layer_types": _layers("rfr"), "attention_bias": False, "mlp_bias": False,
            "head_dim": 8, "hidden_act": "silu", "n_group": 1, "topk_group": 1,
            "topk_method": "greedy", "n_shared_experts": 2, "routed_scaling_factor": 1.0,
            "rms_norm_eps": 1e-06, "pretraining_tp": 1, "output_router_logits": False,
            "model_type": "unlimited_ocr_text", "dtype": "float32"},
        {"transformers_version": "5.24.0", "dtype": "float32"}, greedy_prompt=9,
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}, _rope(100.0)],
    ),
    _unlimited(
        "narrow",
        "a window of two tokens, the least that Transformers can keep; two of four groups, a tied "
        "head, relu, three dense layers of four by first_k_dense_replace",
        _GROUPS | {"sliding_window": 2, "tie_word_embeddings": True, "hidden_act": "relu",
                   "num_hidden_layers": 4, "mlp_layer_types": DELETE, "first_k_dense_replace": 3,
                   "routed_scaling_factor": 2.0},
        greedy_prompt=12,
        matters=[{"topk_group": 4}, {"topk_method": "greedy"}, {"hidden_act": "silu"},
                 {"routed_scaling_factor": 1.0}],
    ),
    _unlimited(
        "biases",
        "biases, linear rotations, one shared expert, a prompt of one token; float16",
        _rope(1000.0, rope_type="linear", factor=2.5) | {
            "attention_bias": True, "mlp_bias": True, "sliding_window": 9, "n_shared_experts": 1},
        dtype="F16", greedy_prompt=1,
        matters=[{"num_experts_per_tok": 1}, _rope(1000.0), _rope(10.0)],
    ),
    _unlimited(
        "yarn",
        "yarn, one key head, top 1, every layer with experts, a window longer than pages; bfloat16",
        _yarn(4.0) | {"num_attention_heads": 2, "num_key_value_heads": 1, "num_experts_per_tok": 1,
                      "mlp_layer_types": _layers("ss"), "sliding_window": 17,
                      "layer_types": _layers("rr")},
        dtype="BF16", prompts=(1, 7, 80), greedy_prompt=20,
        matters=[{"num_experts_per_tok": 2}, _yarn(16.0), _rope(100.0)],
    ),
    _unlimited(
        "defaults",
        "what can be left to its default: ten heads, top 6 beside two shared ones, a dense layer, "
        "a window of 128",
        {"hidden_size": 40, "sliding_window": DELETE, "tie_word_embeddings": False} | {
            key: DELETE for key in ("num_attention_heads", "num_key_value_heads", "pad_token_id",
                                    "num_experts_per_tok", "mlp_layer_types")},
        matters=[{"num_experts_per_tok": 5}, _rope(100.0), {"routed_scaling_factor": 2.0}],
    ),
]
