# SPDX-License-Identifier: Apache-2.0
"""The golden variants of DeepSeek-V4: tiny windows, so that prompts of some tokens close several."""

from .variant import BASE, DELETE, variants_of
from .variants_latent import yarn

_KEYS = {
    "num_key_value_heads": 1, "head_dim": 16, "q_lora_rank": 12, "o_groups": 2, "o_lora_rank": 8,
    "moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "sliding_window": 6, "index_n_heads": 4, "index_head_dim": 12, "index_topk": 3, "hc_mult": 2,
    "hc_sinkhorn_iters": 4, "qk_rope_head_dim": 8,
}
_SLIDING, _SPARSE, _HEAVY = ("sliding_attention", "compressed_sparse_attention",
                             "heavily_compressed_attention")

_deepseek_v4 = variants_of("deepseek_v4", BASE | _KEYS)


def _rates(sparse, heavy):
    return {_SPARSE: sparse, _HEAVY: heavy}


def _ropes(main, compress):
    return {"main": main, "compress": compress}


def _plain(theta, part=0.5):
    return {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": part}


DEEPSEEK_V4 = [
    _deepseek_v4(
        "classic",
        "as released: the authors' keys and names, entries of 4 and 128 tokens, a list that goes on "
        "for the layer of multi-token prediction, yarn, four streams, one hash layer of four",
        {"num_hidden_layers": 4, "compress_ratios": [0, 4, 128, 4, 0], "num_hash_layers": 1,
         "hc_mult": 4, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "swiglu_limit": 10.0,
         "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc", "norm_topk_prob": True,
         "n_shared_experts": 1, "routed_scaling_factor": 1.5, "num_nextn_predict_layers": 1,
         "sliding_window": 16, "index_topk": 8, "rope_theta": 10000, "compress_rope_theta": 160000,
         "rope_scaling": {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
                          "original_max_position_embeddings": 64},
         "attention_bias": False, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40, 150), greedy_prompt=120,
        matters=[{"index_topk": 64}, {"index_topk": 7}, {"sliding_window": 15},
                 {"routed_scaling_factor": 1.0}, {"rope_scaling": None},
                 {"compress_rope_theta": 10000}, {"hc_sinkhorn_iters": 1},
                 {"scoring_func": "sigmoid"}],
    ),
    _deepseek_v4(
        "rates",
        "in the layout of Transformers: entries of 3 and 5 tokens in all kinds of layers, hash "
        "layers that are not the first, both rotations named, beside defaults of theta, yarn in one",
        {"num_hidden_layers": 4, "layer_types": [_HEAVY, _SPARSE, _SLIDING, _SPARSE],
         "compress_rates": _rates(3, 5), "mlp_layer_types": ["moe", "hash_moe", "hash_moe", "moe"],
         "partial_rotary_factor": 0.5, "rope_theta": 10000.0, "compress_rope_theta": 160000.0,
         "rope_parameters": _ropes(
             _plain(100.0),
             yarn(8, rope_theta=500.0, partial_rotary_factor=0.5, attention_factor=1.0,
                  original_max_position_embeddings=16))},
        packed=True, prompts=(1, 7, 40, 75),
        matters=[{"index_topk": 30}, {"index_topk": 2}, {"sliding_window": 5},
                 {"rope_parameters": _ropes(_plain(1000.0), _plain(500.0))},
                 {"rope_parameters": _ropes(_plain(100.0), _plain(500.0))},
                 {"hc_sinkhorn_iters": 1}, {"swiglu_limit": 0.5}],
    ),
    _deepseek_v4(
        "heavy",
        "entries of 7 tokens alone; three streams, three heads in three groups, tied, float16, an "
        "eps that counts; no hash layer",
        {"num_hidden_layers": 3, "layer_types": [_HEAVY] * 3, "compress_rate_hca": 7,
         "num_hash_layers": 0, "hc_mult": 3, "hc_eps": 0.05, "num_attention_heads": 3,
         "o_groups": 3, "o_lora_rank": 5, "head_dim": 24, "qk_rope_head_dim": 6,
         "tie_word_embeddings": True, "sliding_window": 4, "rms_norm_eps": 0.01,
         "num_experts_per_tok": 3},
        dtype="F16", prompts=(1, 6, 7, 8, 60),
        matters=[{"hc_eps": 1e-6}, {"sliding_window": 5}, {"compress_rope_theta": 10.0},
                 {"rms_norm_eps": 1e-6}, {"num_experts_per_tok": 2}],
    ),
    _deepseek_v4(
        "sparse",
        "overlapping entries of 2 tokens alone, more index heads than a kernel takes at once, all "
        "of an index head turns; every layer a hash layer; one group",
        {"num_hidden_layers": 3, "layer_types": [_SPARSE] * 3, "compress_rates": _rates(2, 9),
         "num_hash_layers": 3, "index_n_heads": 7, "index_head_dim": 8, "index_topk": 4,
         "o_groups": 1, "sliding_window": 3, "hc_sinkhorn_iters": 1, "swiglu_limit": 0.7},
        packed=True, dtype="BF16", shard_bytes=40000, prompts=(1, 2, 9, 60),
        matters=[{"index_topk": 5}, {"index_topk": 1}, {"swiglu_limit": 10.0},
                 {"hc_sinkhorn_iters": 3}, {"compress_rope_theta": 100.0}],
    ),
    _deepseek_v4(
        "window",
        "no entries at all: the other rotation counts; sigmoid scores, a scale, one head per group",
        {"num_hidden_layers": 2, "compress_ratios": [0, 0], "num_hash_layers": 1,
         "scoring_func": "sigmoid", "routed_scaling_factor": 2.5, "o_groups": 4,
         "rope_theta": 300.0, "compress_rope_theta": 77.0},
        prompts=(1, 7, 40),
        matters=[{"rope_theta": 10000.0}, {"scoring_func": "sqrtsoftplus"},
                 {"sliding_window": 7}, {"routed_scaling_factor": 1.0}],
    ),
    _deepseek_v4(
        "default",
        "layers, hash layers, rates and window by default; four streams; two numbers of a head "
        "turn",
        {"num_hidden_layers": 4, "hc_mult": DELETE, "hc_sinkhorn_iters": DELETE,
         "sliding_window": DELETE, "qk_rope_head_dim": DELETE, "index_topk": 6},
        dtype="BF16", prompts=(1, 7, 140), greedy_prompt=124,
        matters=[{"index_topk": 64}, {"sliding_window": 100}, {"partial_rotary_factor": 0.5},
                 {"hc_sinkhorn_iters": 1}],
    ),
    _deepseek_v4(
        "pages",
        "windows of 20 and 33 tokens, which begin and end within pages, and a linear rotation",
        {"num_hidden_layers": 3, "layer_types": [_SPARSE, _HEAVY, _SPARSE],
         "compress_rates": _rates(20, 33), "num_hash_layers": 1, "index_topk": 2,
         "sliding_window": 9, "hc_mult": 2,
         "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        prompts=(1, 40, 110), greedy_prompt=50,
        matters=[{"index_topk": 1}, {"rope_scaling": None}, {"sliding_window": 8}],
    ),
]
