# SPDX-License-Identifier: Apache-2.0
"""The golden variants of GLM-5.3-Flash."""

from .variant import BASE, DELETE, Variant
from .variants_latent import MLA, MOE

# Linear heads of 8, index heads of 12. No width stands for another.
_TEXT = BASE | MLA | MOE | {
    "model_type": "glm5_next_text", "qk_rope_head_dim": 0, "pad_token_id": None,
    "tie_word_embeddings": False, "linear_num_heads": 4, "linear_head_dim": 8, "index_topk": 8,
    "index_n_heads": 4, "index_head_dim": 12, "index_kpool": 4, "hc_mult": 2,
    "moe_intermediate_size": 6, "n_routed_experts": 6, "hidden_size": 24,
}
_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 2,
           "image_size": 8, "out_hidden_size": 8, "projection_intermediate_size": 8}
_WORDS = {"L": "linear_attention", "D": "deepseek_sparse_attention", "A": "full_attention",
          "F": "full", "S": "shared", "d": "dense", "s": "sparse"}


def _types(pattern):
    return [_WORDS[letter] for letter in pattern]


def _without_deleted(keys):
    return {key: value for key, value in keys.items() if value != DELETE}


def _glm5(name, description, text, **kwargs):
    """`matters` names changes of the text model."""
    text = _without_deleted(_TEXT | text)
    config = {"text_config": text, "vision_config": _VISION, "image_token_id": 196,
              "video_token_id": 197, "image_start_token_id": 198, "image_end_token_id": 199,
              "video_start_token_id": 200, "video_end_token_id": 201,
              "tie_word_embeddings": text["tie_word_embeddings"]}
    kwargs["matters"] = [{"text_config": _without_deleted(text | change)}
                         for change in kwargs["matters"]]
    return Variant(f"glm5_next-{name}", "glm5_next", description, config, **kwargs)


def _linear(full, linear, heads=4, dim=8, kernel=4, **other):
    """The authors' object, which counts layers from 0."""
    return {"linear_num_heads": DELETE, "linear_head_dim": DELETE,
            "linear_attn_config": {"full_attn_layers": full, "kda_layers": linear,
                                   "num_heads": heads, "head_dim": dim,
                                   "short_conv_kernel_size": kernel, **other}}


GLM_5_NEXT = [
    _glm5(
        "classic",
        "as released: the authors' keys and names, every fourth layer attends, the first is dense, "
        "pools of 4, four streams, tensors of the part for pictures; bfloat16, sharded",
        _linear([3], [0, 1, 2, 4], gate_lower_bound=-5.0) | {
            "num_hidden_layers": 5, "layer_types": _types("LLLDL"),
            "mlp_layer_types": _types("dssss"), "indexer_types": _types("FFFFF"),
            "first_k_dense_replace": 1, "moe_layer_freq": 1, "head_dim": 0, "qk_head_dim": 12,
            "mla_use_nope": True, "mhc": True, "hc_mult": 4, "hc_eps": 1e-06,
            "hc_sinkhorn_iters": 20, "index_kpool_compress": True,
            "index_kpool_always_select_tail": True, "indexer_rope_interleave": True,
            "index_share_for_mtp_iteration": True, "num_nextn_predict_layers": 1,
            "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_router_dtype": "float32",
            "swiglu_limit": 10.0, "rms_norm_eps": 1e-05, "hidden_act": "silu",
            "attention_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02,
            "use_cache": True, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000, prompts=(1, 7, 11, 12, 40),
        matters=[{"index_topk": 64}, {"index_topk": 4}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"num_experts_per_tok": 2}, {"hc_eps": 0.01},
                 {"hc_sinkhorn_iters": 1}, {"swiglu_limit": 0.5}, {"rms_norm_eps": 0.1},
                 _linear([3], [0, 1, 2, 4], gate_lower_bound=-1.0)],
    ),
    _glm5(
        "shared",
        "layers take over the keys that the layer before chose; pools of 2, decays without a "
        "bound in the keys of Transformers, prompts beyond a chunk of the parallel form",
        {"num_hidden_layers": 5, "layer_types": _types("DDLAA"),
         "indexer_types": _types("FSFFS"), "mlp_layer_types": _types("sdsss"), "index_kpool": 2,
         "index_topk": 6, "linear_lower_bound": None, "linear_conv_kernel_dim": 3,
         "norm_topk_prob": True, "hc_mult": 3},
        dtype="BF16", prompts=(1, 7, 8, 70, 140),
        matters=[{"index_topk": 64}, {"index_topk": 4}, {"linear_lower_bound": -5.0},
                 {"num_experts_per_tok": 1}],
    ),
    _glm5(
        "frequency",
        "sparse layers alone, every other of which chooses, pools of 3",
        {"num_hidden_layers": 5, "layer_types": _types("DDDDD"), "index_topk_freq": 2,
         "index_skip_topk_offset": 2, "index_kpool": 3, "index_topk": 6,
         "mlp_layer_types": _types("dssds")},
        dtype="BF16", prompts=(1, 5, 8, 9, 40),
        matters=[{"index_topk": 9}, {"routed_scaling_factor": 1.0}, {"hc_sinkhorn_iters": 2}],
    ),
    _glm5(
        "groups",
        "2 of 4 groups, weights as they are, attention_bias, two shared experts, three heads with "
        "values wider than keys, seven index heads, streams with an epsilon that counts, tied; a "
        "pattern of letters, float32",
        {"num_hidden_layers": 3, "layer_types": _types("LDD"), "index_topk_pattern": "FFS",
         "attention_bias": True, "n_group": 4, "topk_group": 2, "n_routed_experts": 8,
         "norm_topk_prob": False, "n_shared_experts": 2, "num_attention_heads": 3,
         "num_key_value_heads": 3, "v_head_dim": 24, "index_n_heads": 7, "index_head_dim": 20,
         "routed_scaling_factor": 1.5, "hc_eps": 0.125, "hc_sinkhorn_iters": 3,
         "mlp_layer_types": _types("sss"), "tie_word_embeddings": True, "swiglu_limit": 1.0},
        matters=[{"index_topk": 16}, {"topk_group": 4}, {"norm_topk_prob": True},
                 {"n_group": 1, "topk_group": 1}, {"swiglu_limit": 3.0}, {"hc_eps": 1e-06}],
    ),
    _glm5(
        "defaults",
        "what can be left to its default: the kinds of layers, streams, pools of 16, all of "
        "which are seen, the bound of decays",
        {key: DELETE for key in ("index_topk", "index_kpool", "hc_mult", "n_shared_experts")} | {
            "num_hidden_layers": 4, "intermediate_size": 12, "linear_num_heads": 2},
        dtype="BF16",
        matters=[{"index_topk": 16}, {"routed_scaling_factor": 1.0}, {"rms_norm_eps": 0.1},
                 {"linear_lower_bound": -3.0}, {"hc_sinkhorn_iters": 2}, {"swiglu_limit": 0.5}],
    ),
    _glm5(
        "odd",
        "pools of 3, which do not divide a page; three linear heads of 10, five latent ones, five "
        "experts, top 1, a norm whose epsilon counts, float16",
        {"num_hidden_layers": 3, "layer_types": _types("DLD"), "index_kpool": 3, "index_topk": 9,
         "linear_num_heads": 3, "linear_head_dim": 10, "linear_conv_kernel_dim": 2,
         "linear_lower_bound": -1.5, "num_attention_heads": 5, "num_key_value_heads": 5,
         "n_routed_experts": 5, "num_experts_per_tok": 1, "rms_norm_eps": 0.05,
         "mlp_layer_types": _types("sds"), "swiglu_limit": 0.75},
        dtype="F16", prompts=(1, 7, 18, 60, 90),
        matters=[{"index_topk": 30}, {"linear_lower_bound": -5.0}, {"rms_norm_eps": 1e-05},
                 {"swiglu_limit": 10.0}, {"num_experts_per_tok": 2}],
    ),
    _glm5(
        "unbounded",
        "one stream; decays without a bound in the authors' keys, a convolution over one row, no "
        "shared expert; keys by themselves, without a tail",
        _linear([1], [0, 2], heads=2, dim=16, kernel=1, gate_lower_bound=None, safe_gate=False) | {
            "num_hidden_layers": 3, "layer_types": _types("LDL"), "hc_mult": 1,
            "n_shared_experts": 0, "mlp_layer_types": _types("sss"), "index_kpool": 1,
            "index_kpool_always_select_tail": False, "index_topk": 12},
        dtype="BF16", prompts=(1, 7, 12, 13, 70),
        matters=[{"index_topk": 64}, {"hc_eps": 0.1}, {"routed_scaling_factor": 1.0},
                 _linear([1], [0, 2], heads=2, dim=16, kernel=1, gate_lower_bound=-5.0)],
    ),
]
