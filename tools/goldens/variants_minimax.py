# SPDX-License-Identifier: Apache-2.0
"""The golden variants of MiniMax-M3: each head of keys sees a few blocks of them."""

from .variant import BASE, DELETE, Variant, variants_of

_F, _S = "full_attention", "minimax_m3_sparse"


def _default(theta, part=0.5):
    return {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": part}


_SIZES = BASE | {
    "head_dim": 12, "intermediate_size": 6, "dense_intermediate_size": 20,
    "shared_intermediate_size": 10, "num_local_experts": 6, "num_experts_per_tok": 2,
}
_INDEX = {"index_n_heads": 2, "index_head_dim": 8, "index_block_size": 4, "index_topk_blocks": 2,
          "index_local_blocks": 1}

_text = variants_of("minimax_m3_vl_text", _SIZES | _INDEX | {
    "rotary_dim": 6, "rope_parameters": _default(10000.0), "layer_types": [_S, _S]
}, packed=True, prompts=(1, 7, 9, 40))

TEXT = [
    _text(
        "classic",
        "one full and dense layer of three, 2 blocks of 4 keys, of which the last is always one, "
        "half of a head turns; bfloat16, sharded",
        {"num_hidden_layers": 3, "layer_types": [_F, _S, _S],
         "mlp_layer_types": ["dense", "sparse", "sparse"], "swiglu_limit": 7.0,
         "swiglu_alpha": 1.702, "hidden_act": "silu", "routed_scaling_factor": 2.0,
         "tie_word_embeddings": False, "rms_norm_eps": 1e-06, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"index_topk_blocks": 16}, {"index_topk_blocks": 3}, {"index_block_size": 3},
                 {"index_local_blocks": 0}, {"routed_scaling_factor": 1.0},
                 {"rope_parameters": _default(100.0)}],
    ),
    _text(
        "wide",
        "one head of keys and three of queries, a wide indexer, blocks of 5 keys, all experts "
        "small; limits that bite, another epsilon, tied",
        {"num_attention_heads": 3, "num_key_value_heads": 1, "index_n_heads": 1,
         "index_head_dim": 20, "index_block_size": 5, "index_topk_blocks": 3,
         "swiglu_limit": 0.6, "rms_norm_eps": 0.05, "tie_word_embeddings": True,
         "num_experts_per_tok": 3, "shared_intermediate_size": 24},
        prompts=(1, 7, 15, 16, 60),
        matters=[{"index_topk_blocks": 12}, {"swiglu_limit": 7.0}, {"rms_norm_eps": 1e-06},
                 {"num_experts_per_tok": 2}],
    ),
    _text(
        "local",
        "two of four blocks are the last ones, four heads of keys; all of a head turns, by the "
        "authors' keys; float16",
        {"num_key_value_heads": 4, "index_n_heads": 4, "index_head_dim": 12,
         "index_block_size": 3, "index_topk_blocks": 4, "index_local_blocks": 2,
         "rotary_dim": 12, "rope_parameters": _default(500.0, 1.0), "layer_types": DELETE,
         "sparse_attention_config": {
             "use_sparse_attention": True, "sparse_index_dim": 12, "sparse_num_index_heads": 4,
             "sparse_topk_blocks": 4, "sparse_block_size": 3, "sparse_score_type": "max",
             "sparse_init_block": 0, "sparse_local_block": 2,
             "sparse_disable_index_value": [1, 1], "sparse_attention_freq": [1, 1]}},
        dtype="F16", prompts=(1, 7, 12, 13, 50),
        matters=[{"rope_parameters": _default(20.0, 1.0)}, {"num_experts_per_tok": 1},
                 {"sparse_attention_config": {"sparse_attention_freq": [1, 1],
                                              "sparse_block_size": 3, "sparse_topk_blocks": 4,
                                              "sparse_local_block": 0, "sparse_index_dim": 12}}],
    ),
    _text(
        "free",
        "no block is seen in any case: queries may not see themselves; linear rotations, dense "
        "behind experts",
        {"index_local_blocks": 0, "index_topk_blocks": 1, "index_block_size": 8,
         "mlp_layer_types": ["sparse", "dense"], "num_local_experts": 4,
         "rope_parameters": _default(1000.0) | {"rope_type": "linear", "factor": 4.0}},
        dtype="BF16",
        matters=[{"index_local_blocks": 1}, {"index_topk_blocks": 2},
                 {"rope_parameters": _default(1000.0)}],
    ),
    _text(
        "all",
        "blocks by default: every query sees all keys; two groups of heads; yarn",
        {"index_block_size": DELETE, "index_topk_blocks": DELETE, "index_local_blocks": DELETE,
         "num_attention_heads": 6, "head_dim": 8, "rotary_dim": 4,
         "dense_intermediate_size": DELETE,
         "rope_parameters": _default(500.0) | {"rope_type": "yarn", "factor": 8.0,
                                               "original_max_position_embeddings": 16}},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"index_block_size": 4, "index_topk_blocks": 2},
                 {"rope_parameters": _default(500.0)}, {"num_experts_per_tok": 3}],
    ),
    _text(
        "keys",
        "one position in a block, which is one key; layers of four kinds",
        {"num_hidden_layers": 4, "layer_types": [_S, _F, _S, _F], "hidden_size": 24,
         "mlp_layer_types": ["dense", "sparse", "sparse", "dense"], "num_local_experts": 4,
         "index_block_size": 1, "index_topk_blocks": 6, "index_local_blocks": 2},
        dtype="BF16", shard_bytes=30000,
        matters=[{"index_topk_blocks": 60}, {"index_topk_blocks": 5}, {"index_local_blocks": 1}],
    ),
]

# As published.
_OLD_ROPE = {"partial_rotary_factor": 0.5, "rope_theta": 10000}
_VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
           "num_attention_heads": 2, "patch_size": 2, "image_size": 4}
# Ids of pictures are beyond the vocabulary: Transformers looks for them in every text.
_OUTER = {"image_token_index": 201, "video_token_index": 202, "projector_hidden_size": 16,
          "vision_config": _VISION}


def _sparse(freq, **other):
    return {"sparse_attention_config": {
        "use_sparse_attention": True, "sparse_index_dim": 8, "sparse_num_index_heads": 2,
        "sparse_topk_blocks": 2, "sparse_block_size": 4, "sparse_score_type": "max",
        "sparse_init_block": 0, "sparse_local_block": 1, "sparse_disable_index_value": freq,
        "sparse_attention_freq": freq} | other}


def _multimodal(name, description, text, outer=None, **kwargs):
    """`matters` names changes of the text model."""
    text = _SIZES | {"rotary_dim": 6} | text
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"minimax_m3_vl-{name}", "minimax_m3_vl", description,
                   {"text_config": text} | _OUTER | (outer or {}), **kwargs)


MULTIMODAL = [
    _multimodal(
        "classic",
        "as published: the authors' keys and names, one dense and full layer of three, the part "
        "for pictures, which is not read; bfloat16, sharded",
        _OLD_ROPE | _sparse([0, 1, 1]) | {
            "num_hidden_layers": 3, "moe_layer_freq": [0, 1, 1], "hidden_act": "swigluoai",
            "swiglu_alpha": 1.702, "swiglu_limit": 7.0, "use_gemma_norm": True,
            "use_qk_norm": True, "qk_norm_type": "per_head", "n_shared_experts": 1,
            "scoring_func": "sigmoid", "use_routing_bias": True, "routed_scaling_factor": 2.0,
            "num_mtp_modules": 1, "architectures": ["MiniMaxM3SparseForCausalLM"]},
        {"dtype": "bfloat16", "multimodal_projector_bias": True},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 9, 40),
        matters=[_sparse([0, 1, 1], sparse_topk_blocks=16),
                 _sparse([0, 1, 1], sparse_local_block=2), {"rope_theta": 100},
                 {"routed_scaling_factor": 1.0}],
    ),
    _multimodal(
        "keys",
        "Transformers' keys in text_config; float16, tied",
        _INDEX | {"layer_types": [_S, _F], "mlp_layer_types": ["sparse", "sparse"],
                  "model_type": "minimax_m3_vl_text", "tie_word_embeddings": True,
                  "rope_parameters": _default(700.0)},
        {"tie_word_embeddings": True},
        dtype="F16", prompts=(1, 7, 40),
        matters=[{"index_topk_blocks": 16}, {"rope_parameters": _default(50.0)}],
    ),
    _multimodal(
        "full",
        "no layer is sparse and all have experts, by default; three groups of heads",
        _OLD_ROPE | {"num_attention_heads": 6, "num_experts_per_tok": 3, "swiglu_limit": 1.0},
        prompts=(1, 7, 40),
        matters=[{"num_experts_per_tok": 2}, {"swiglu_limit": 7.0},
                 {"partial_rotary_factor": 1.0}],
    ),
    _multimodal(
        "yarn",
        "yarn of half of each head, one head of keys, blocks of 5, a wide indexer, the name of the "
        "text model that the authors have, an epsilon that counts; bfloat16, sharded",
        {"model_type": "minimax_m3", "num_attention_heads": 3, "num_key_value_heads": 1,
         "index_n_heads": 1, "index_head_dim": 20, "index_block_size": 5, "index_topk_blocks": 3,
         "layer_types": [_S, _S], "rms_norm_eps": 0.05, "num_experts_per_tok": 3,
         "rope_parameters": _default(500.0) | {"rope_type": "yarn", "factor": 8.0,
                                               "original_max_position_embeddings": 16}},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 15, 16, 60),
        matters=[{"index_topk_blocks": 12}, {"rms_norm_eps": 1e-06}, {"num_experts_per_tok": 2},
                 {"rope_parameters": _default(500.0)}],
    ),
    _multimodal(
        "local",
        "the authors' keys: two of four blocks are the last ones, four heads of keys, linear "
        "rotations of whole heads, a wide shared expert, another factor; float16",
        _sparse([1, 1], sparse_index_dim=12, sparse_num_index_heads=4, sparse_topk_blocks=4,
                sparse_block_size=3, sparse_local_block=2) | {
            "num_key_value_heads": 4, "rotary_dim": 12, "shared_intermediate_size": 24,
            "routed_scaling_factor": 1.5, "partial_rotary_factor": 1.0, "rope_theta": 500.0,
            "rope_scaling": {"type": "linear", "factor": 2.0}},
        dtype="F16", prompts=(1, 7, 12, 13, 50),
        matters=[{"routed_scaling_factor": 1.0}, {"rope_scaling": None}, {"rope_theta": 20.0},
                 _sparse([1, 1], sparse_index_dim=12, sparse_num_index_heads=4,
                         sparse_topk_blocks=4, sparse_block_size=3, sparse_local_block=0)],
    ),
    _multimodal(
        "free",
        "no block is seen in any case; all of four experts, llama3, a "
        "dense layer behind experts, a full one in front, other words for pictures; bfloat16",
        _INDEX | {"index_local_blocks": 0, "index_topk_blocks": 1, "index_block_size": 8,
                  "layer_types": [_F, _S, _S], "num_hidden_layers": 3, "num_local_experts": 4,
                  "num_experts_per_tok": 4, "mlp_layer_types": ["sparse", "sparse", "dense"],
                  "rope_parameters": _default(500.0) | {
                      "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                      "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        {"image_token_id": 201, "video_token_id": 202, "image_token_index": DELETE,
         "video_token_index": DELETE},
        dtype="BF16",
        matters=[{"index_local_blocks": 1}, {"index_topk_blocks": 2},
                 {"num_experts_per_tok": 2}, {"rope_parameters": _default(500.0)}],
    ),
]

MINIMAX_M3 = [*TEXT, *MULTIMODAL]
