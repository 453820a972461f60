# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Hunyuan 4 that looks at pictures: its text model."""

from .variant import BASE, DELETE, Variant
from .variants_hunyuan4 import KEYS, types
from .variants_latent import MLA, MOE

# Eight of a head's numbers turn: four pairs. With fewer index heads keys that no head likes are
# many, and equally bad.
_TEXT = BASE | MLA | MOE | KEYS | {"model_type": "hy_v4_vl_text", "hidden_size": 24,
                                   "n_routed_experts": 6, "moe_intermediate_size": 6,
                                   "index_n_heads": 12, "tie_word_embeddings": False}
_VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
           "intermediate_size": 8, "out_hidden_size": 24, "patch_size": 4, "max_image_size": 8}


def _rope(theta, **other):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta,
                                "mrope_section": [2, 1, 1]} | other}


def _llama3(factor):
    return _rope(100.0, rope_type="llama3", factor=factor, low_freq_factor=1.0,
                 high_freq_factor=4.0, original_max_position_embeddings=16)


def _without_deleted(keys):
    return {key: value for key, value in keys.items() if value != DELETE}


def _pictures(name, description, text, beside=None, **kwargs):
    """`matters` names changes of the text model."""
    text = _without_deleted(_TEXT | text)
    vision = _VISION | {"out_hidden_size": text["hidden_size"]}
    config = {"text_config": text, "vision_config": vision, "image_token_id": 196,
              "video_token_id": 197} | (beside or {})
    config["tie_word_embeddings"] = text["tie_word_embeddings"]
    kwargs["matters"] = [{"text_config": _without_deleted(text | change)}
                         for change in kwargs["matters"]]
    return Variant(f"hy_v4_vl-{name}", "hy_v4_vl", description, config, **kwargs)


HUNYUAN_4_PICTURES = [
    _pictures(
        "classic",
        "as released: the authors' keys and names, four streams, every fourth layer behind the "
        "second chooses keys, one dense layer, a tensor of what looks at pictures; bfloat16, "
        "sharded",
        _rope(10000000.0) | {
            "num_hidden_layers": 6, "num_key_value_heads": 1, "hc_mult": 4, "hc_magnitude": 2.0,
            "hc_eps": 1e-06, "enable_ihc": True, "gated_mla": True, "gating_type": "elementwise",
            "learnable_sink": True, "learnable_sink_init": 0.0, "use_dsa": True, "use_mla": True,
            "enable_lm_head_fp32": True, "num_nextn_predict_layers": 1,
            "indexer_types": types("FFSSSF"), "mlp_layer_types": types("dsssss"),
            "head_dim": 8, "qk_head_dim": 20, "n_group": 1, "topk_group": 1,
            "norm_topk_prob": True, "routed_scaling_factor": 2.827, "swiglu_limit": 10.0,
            "rms_norm_eps": 1e-05, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"routed_scaling_factor": 1.0},
                 {"num_experts_per_tok": 2}, {"hc_magnitude": 1.9}, {"swiglu_limit": 0.5},
                 _rope(100.0)],
    ),
    _pictures(
        "saved",
        "as Transformers saves it: its names, every gate a linear_gate, hc_pre before hc_attn_layer "
        "but behind hc_head; a dense layer among others, three streams",
        _rope(500.0) | {
            "num_hidden_layers": 4, "dtype": "float32", "indexer_types": types("FSSF"),
            "layer_types": ["indexed_attention"] * 4,
            "mlp_layer_types": types("sdss"), "swiglu_limit": 0.75, "hc_mult": 3,
            "hc_magnitude": 1.25, "index_topk": 5, "output_router_logits": False},
        {"transformers_version": "5.24.0"},
        matters=[{"index_topk": 64}, {"swiglu_limit": 10.0}, {"hc_magnitude": 2.0},
                 {"routed_scaling_factor": 1.0}],
    ),
    _pictures(
        "modules",
        "packed, in the names of Transformers: 2 of 4 groups, weights as they are, attention_bias, "
        "two shared experts, three heads with values wider than keys, seven index heads, tied",
        _rope(1000.0, rope_type="linear", factor=3.0) | {
            "attention_bias": True, "n_group": 4, "topk_group": 2, "norm_topk_prob": False,
            "n_routed_experts": 8, "n_shared_experts": 2, "num_attention_heads": 3,
            "v_head_dim": 24, "index_n_heads": 7, "index_head_dim": 20,
            "tie_word_embeddings": True, "routed_scaling_factor": 1.5,
            "num_key_value_heads": DELETE, "swiglu_limit": 1.0},
        packed=True,
        matters=[{"index_topk": 16}, {"topk_group": 4}, {"norm_topk_prob": True},
                 {"n_group": 1, "topk_group": 1}, {"swiglu_limit": 3.0}, _rope(1000.0)],
    ),
    _pictures(
        "defaults",
        "what can be left to its default: all keys are seen, four streams, the layers' kinds, 32 "
        "index heads",
        _rope(10000.0) | {
            "num_hidden_layers": 3, "index_topk": DELETE, "index_n_heads": DELETE,
            "hc_mult": DELETE, "n_shared_experts": DELETE, "num_key_value_heads": DELETE,
            "index_head_dim": 8},
        dtype="BF16",
        matters=[{"index_topk": 8}, {"routed_scaling_factor": 1.0}, {"hc_magnitude": 1.0},
                 {"n_group": 2}],
    ),
    _pictures(
        "yarn",
        "yarn with mscales that differ; epsilons that count, also of the norms of latents, which "
        "have 1e-6 in the model for text; five streams, every layer with experts, one of two "
        "groups, float16",
        _rope(500.0, rope_type="yarn", factor=8.0, mscale=0.6, mscale_all_dim=1.3,
              original_max_position_embeddings=16) | {
            "rms_norm_eps": 0.05, "hc_eps": 0.125, "hc_magnitude": 0.75, "hc_mult": 5,
            "mlp_layer_types": types("ss"), "n_group": 2, "topk_group": 1,
            "num_experts_per_tok": 2, "index_topk": 16},
        dtype="F16", packed=True, shard_bytes=40000, prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 100}, {"rms_norm_eps": 1e-05}, {"hc_eps": 0.0}, {"topk_group": 2},
                 {"hc_magnitude": 0.5}],
    ),
    _pictures(
        "one-stream",
        "one stream; all of an index head turns; rotations of Llama 3; top 1, every layer behind "
        "the first shares",
        _llama3(4.0) | {
            "num_hidden_layers": 3, "hc_mult": 1, "index_head_dim": 8, "index_topk": 6,
            "indexer_types": types("FSS"), "num_experts_per_tok": 1, "n_routed_experts": 4,
            "swiglu_limit": 2.5},
        dtype="BF16", prompts=(1, 7, 16, 17, 40), greedy_prompt=12,
        matters=[{"index_topk": 40}, {"hc_eps": 0.1}, {"routed_scaling_factor": 1.0},
                 _llama3(2.0)],
    ),
]
