# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Hunyuan 4."""

from .variant import BASE, DELETE, variants_of
from .variants_latent import MLA, MOE

# Index heads of 12, of which the last 8 turn.
KEYS = {"index_topk": 8, "index_n_heads": 4, "index_head_dim": 12, "hc_mult": 2,
        "pad_token_id": None}

_hunyuan4 = variants_of("hy_v4", BASE | MLA | MOE | KEYS)


def types(pattern):
    return [{"F": "full", "S": "shared", "d": "dense", "s": "sparse"}[letter] for letter in pattern]


HUNYUAN_4 = [
    _hunyuan4(
        "classic",
        "as released: the authors' keys and names, four streams, every fourth layer behind the "
        "second chooses keys, one dense layer, heads of keys that nobody reads; bfloat16, sharded",
        {"num_hidden_layers": 6, "hidden_size": 24, "n_routed_experts": 6, "num_key_value_heads": 1,
         "moe_intermediate_size": 6, "hc_mult": 4, "hc_magnitude": 2.0, "hc_eps": 1e-06,
         "enable_ihc": True, "gated_mla": True, "gating_type": "elementwise",
         "learnable_sink": True, "learnable_sink_init": 0.0, "use_dsa": True, "use_mla": True,
         "enable_lm_head_fp32": True, "bitwise_backward_align": False, "mtp_loss_factor": 0.1,
         "num_nextn_predict_layers": 1,
         "indexer_types": types("FFSSSF"), "mlp_layer_types": types("dsssss"),
         "layer_types": ["deepseek_sparse_attention"] * 6, "head_dim": 8, "qk_head_dim": 20,
         "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.827,
         "swiglu_limit": 10.0, "rms_norm_eps": 1e-05, "hidden_act": "silu",
         "attention_bias": False, "attention_dropout": 0.0, "tie_word_embeddings": False,
         "initializer_range": 0.006, "use_cache": True, "torch_dtype": "bfloat16",
         "rope_parameters": {"rope_type": "default", "rope_theta": 10000000.0}},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"num_experts_per_tok": 2}, {"hc_magnitude": 1.9},
                 {"hc_eps": 0.01}, {"swiglu_limit": 0.5},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _hunyuan4(
        "saved",
        "as Transformers saves it: its names, in which every gate is linear_gate and hc_pre comes "
        "first; a dense layer among others, whose SwiGLU has no limit, as the shared expert's",
        {"num_hidden_layers": 4, "transformers_version": "5.17.0", "dtype": "float32",
         "indexer_types": types("FSSF"), "mlp_layer_types": types("sdss"), "swiglu_limit": 0.75,
         "hidden_size": 24, "n_routed_experts": 6, "moe_intermediate_size": 6, "hc_mult": 3,
         "hc_magnitude": 1.25, "index_topk": 5,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        matters=[{"index_topk": 64}, {"swiglu_limit": 10.0}, {"hc_magnitude": 2.0},
                 {"routed_scaling_factor": 1.0}],
    ),
    _hunyuan4(
        "groups",
        "packed, in the names of Transformers: 2 of 4 groups, weights as they are, attention_bias, "
        "two shared experts, three heads with values wider than keys, seven index heads, tied",
        {"attention_bias": True, "n_group": 4, "topk_group": 2, "norm_topk_prob": False,
         "n_shared_experts": 2, "num_attention_heads": 3, "v_head_dim": 24, "index_n_heads": 7,
         "index_head_dim": 20, "tie_word_embeddings": True, "routed_scaling_factor": 1.5,
         "moe_intermediate_size": 6, "num_key_value_heads": DELETE, "swiglu_limit": 1.0,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}},
        packed=True,
        matters=[{"index_topk": 16}, {"topk_group": 4}, {"norm_topk_prob": True},
                 {"n_group": 1, "topk_group": 1}, {"swiglu_limit": 3.0},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _hunyuan4(
        "defaults",
        "what can be left to its default: all keys are seen, four streams, the layers' kinds",
        {"num_hidden_layers": 3, "index_topk": DELETE, "hc_mult": DELETE,
         "n_shared_experts": DELETE, "num_key_value_heads": DELETE, "hidden_size": 24,
         "moe_intermediate_size": 6, "n_routed_experts": 6},
        dtype="BF16",
        matters=[{"index_topk": 8}, {"routed_scaling_factor": 1.0}, {"hc_magnitude": 1.0},
                 {"rms_norm_eps": 0.1}, {"n_group": 2}],
    ),
    _hunyuan4(
        "yarn",
        "yarn with mscales that differ; epsilons that count, of streams, of norms and of those of "
        "index keys; five streams, every layer with experts, one of two groups, float16",
        {"rms_norm_eps": 0.05, "hc_eps": 0.125, "hc_magnitude": 0.75, "hc_mult": 5,
         "mlp_layer_types": types("ss"), "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2,
         "index_topk": 16, "moe_intermediate_size": 6,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 0.6, "mscale_all_dim": 1.3,
                             "original_max_position_embeddings": 16}},
        dtype="F16", packed=True, shard_bytes=40000, prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 100}, {"rms_norm_eps": 1e-05}, {"hc_eps": 0.0}, {"topk_group": 2},
                 {"hc_magnitude": 0.5},
                 {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                      "mscale": 1.0, "mscale_all_dim": 1.0,
                                      "original_max_position_embeddings": 16}}],
    ),
    _hunyuan4(
        "one-stream",
        "one stream; all of an index head turns; dynamic NTK; top 1, every layer behind the first "
        "shares",
        {"num_hidden_layers": 3, "hc_mult": 1, "index_head_dim": 8, "index_topk": 6,
         "indexer_types": types("FSS"), "num_experts_per_tok": 1, "n_routed_experts": 4,
         "max_position_embeddings": 16, "swiglu_limit": 2.5,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}},
        dtype="BF16", prompts=(1, 7, 16, 17, 40), greedy_prompt=12,
        matters=[{"index_topk": 40}, {"hc_eps": 0.1}, {"routed_scaling_factor": 1.0},
                 {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}}],
    ),
]
