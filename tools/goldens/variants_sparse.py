# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the families in families_sparse.py: indexers that drop most keys."""

from .variant import BASE, DELETE, variants_of
from .variants_latent import MLA, MOE, yarn

# Index heads of 12, of which 8 turn.
_INDEX = {"index_topk": 8, "index_n_heads": 4, "index_head_dim": 12}

_deepseek_v32 = variants_of("deepseek_v32", BASE | MLA | MOE | _INDEX | {
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1
})

DEEPSEEK_V32 = [
    _deepseek_v32(
        "classic",
        "as released: 8 keys by 4 index heads, 2 of 4 groups, one dense layer of three, yarn with "
        "equal mscales; bfloat16, sharded",
        {"num_hidden_layers": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
         "moe_intermediate_size": 6, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
         "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1,
         "num_nextn_predict_layers": 0, "rope_theta": 10000, "attention_bias": False,
         "rope_scaling": yarn(40, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0),
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"index_topk": 1}, {"topk_group": 4},
                 {"routed_scaling_factor": 1.0}, {"rope_scaling": None},
                 {"rope_scaling": yarn(40, beta_fast=32, beta_slow=1)}],
    ),
    _deepseek_v32(
        "mtp",
        "the checkpoint has a layer more, with an indexer, which predicts a second token and is "
        "not run; all of an index head turns; norms with an epsilon unlike that of indexers",
        {"num_nextn_predict_layers": 1, "n_group": 2, "topk_group": 1, "rms_norm_eps": 0.05,
         "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
         "index_topk": 6, "index_head_dim": 8, "rope_theta": 1000.0},
        dtype="BF16", shard_bytes=40000,
        matters=[{"index_topk": 40}, {"rms_norm_eps": 1e-06}, {"rope_theta": 100.0},
                 {"topk_group": 2}],
    ),
    _deepseek_v32(
        "bias",
        "attention_bias, more index heads than a kernel takes at once, no normalisation, tied, "
        "gelu, three heads; layers by their types",
        {"attention_bias": True, "index_n_heads": 7, "index_head_dim": 20,
         "num_attention_heads": 3, "num_key_value_heads": 3,
         "norm_topk_prob": False, "tie_word_embeddings": True, "hidden_act": "gelu",
         "n_routed_experts": 4, "num_experts_per_tok": 2, "routed_scaling_factor": 1.5,
         "first_k_dense_replace": DELETE, "mlp_layer_types": ["sparse", "dense"],
         "layer_types": ["deepseek_sparse_attention"] * 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        matters=[{"index_topk": 16}, {"norm_topk_prob": True}, {"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _deepseek_v32(
        "packed",
        "packed, no dense layer, 16 keys of long prompts, yarn with mscales that differ: cos and "
        "sin are scaled, those of indexers too",
        {"first_k_dense_replace": 0, "n_group": 4, "topk_group": 1, "num_experts_per_tok": 2,
         "norm_topk_prob": True, "index_topk": 16,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 0.6, "mscale_all_dim": 1.3,
                             "original_max_position_embeddings": 16}},
        dtype="BF16", packed=True, shard_bytes=25000, prompts=(1, 7, 40, 90),
        matters=[
            {"index_topk": 100}, {"topk_group": 2},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "mscale": 1.3, "mscale_all_dim": 1.3,
                                 "original_max_position_embeddings": 16}},
        ],
    ),
    _deepseek_v32(
        "defaults",
        "index_topk, first_k_dense_replace and weights' keys left to their defaults: all keys are "
        "seen; 2 shared experts, four heads, float16",
        {"index_topk": DELETE, "first_k_dense_replace": DELETE, "n_group": DELETE,
         "topk_group": DELETE, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 4, "n_routed_experts": 16, "moe_intermediate_size": 4,
         "n_shared_experts": 2},
        dtype="F16",
        matters=[{"index_topk": 8}, {"topk_group": 8}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}],
    ),
    _deepseek_v32(
        "dynamic",
        "dynamic NTK beyond the context; a query sees one other key or itself; one head, values "
        "wider than keys",
        {"num_attention_heads": 1, "num_key_value_heads": 1, "v_head_dim": 24, "q_lora_rank": 8,
         "index_topk": 1, "max_position_embeddings": 24, "routed_scaling_factor": 1.0,
         "n_routed_experts": 6, "rope_scaling": {"type": "dynamic", "factor": 4.0}},
        dtype="BF16", prompts=(1, 7, 24, 25, 70), greedy_prompt=18,
        matters=[{"index_topk": 2}, {"rope_scaling": None},
                 {"rope_scaling": {"type": "linear", "factor": 4.0}}],
    ),
]

_glm_moe_dsa = variants_of("glm_moe_dsa", BASE | MLA | MOE | _INDEX | {
    "first_k_dense_replace": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}
})


def _types(pattern):
    return [{"F": "full", "S": "shared"}[letter] for letter in pattern]


GLM_MOE_DSA = [
    _glm_moe_dsa(
        "classic",
        "GLM-5 as released: neighbours turn, also of indexers, which all layers have; bfloat16, "
        "sharded",
        {"num_hidden_layers": 3, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
         "moe_intermediate_size": 6, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
         "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1,
         "num_nextn_predict_layers": 0, "attention_bias": False, "head_dim": 8, "qk_head_dim": 20,
         "indexer_rope_interleave": True, "rope_interleave": True, "pretraining_tp": 1,
         "rms_norm_eps": 1e-05, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _glm_moe_dsa(
        "shared",
        "GLM-5.2 as released: from the third layer on every fourth chooses keys; head_dim is what "
        "does not turn; a layer more that predicts a second token",
        {"num_hidden_layers": 7, "hidden_size": 24, "moe_intermediate_size": 4,
         "n_routed_experts": 6, "head_dim": 12, "index_topk_freq": 4, "index_skip_topk_offset": 3,
         "index_topk_pattern": None, "indexer_types": _types("FFFSSSF"),
         "index_share_for_mtp_iteration": True, "moe_router_dtype": "float32",
         "num_nextn_predict_layers": 1,
         "mlp_layer_types": ["dense"] * 3 + ["sparse"] * 4, "first_k_dense_replace": 3},
        dtype="BF16", shard_bytes=40000, matters=[{"index_topk": 64}, {"index_topk": 3}],
    ),
    _glm_moe_dsa(
        "pattern",
        "a pattern of letters, in spite of a frequency; packed, all layers with experts",
        {"num_hidden_layers": 4, "first_k_dense_replace": 0, "index_topk_pattern": "FSSF",
         "index_topk_freq": 2, "moe_intermediate_size": 4, "n_routed_experts": 6},
        dtype="BF16", packed=True, shard_bytes=25000,
        matters=[{"index_topk": 64}, {"num_experts_per_tok": 2}],
    ),
    _glm_moe_dsa(
        "types",
        "indexer_types alone; attention_bias, groups, two shared experts, three heads",
        {"num_hidden_layers": 3, "indexer_types": _types("FSF"), "attention_bias": True,
         "n_group": 2, "topk_group": 1, "n_shared_experts": 2, "num_attention_heads": 3,
         "num_key_value_heads": 3, "num_experts_per_tok": 2, "index_topk": 5},
        matters=[{"index_topk": 64}, {"topk_group": 2}, {"routed_scaling_factor": 1.0}],
    ),
    _glm_moe_dsa(
        "frequency",
        "every second layer behind the default offset chooses keys; tied, gelu, float16, linear "
        "rope",
        {"num_hidden_layers": 5, "index_topk_freq": 2, "tie_word_embeddings": True,
         "hidden_act": "gelu", "moe_intermediate_size": 4, "n_routed_experts": 6,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}},
        dtype="F16",
        matters=[{"index_topk": 64}, {"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _glm_moe_dsa(
        "words",
        "a pattern of words; yarn with mscale_all_dim; first_k_dense_replace and n_group by "
        "default, seven index heads",
        {"num_hidden_layers": 4, "first_k_dense_replace": DELETE, "index_n_heads": 7,
         "index_topk_pattern": _types("FSFS"), "index_head_dim": 16,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 1.0, "mscale_all_dim": 1.0,
                             "original_max_position_embeddings": 16}},
        dtype="BF16", prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 100},
                 {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                      "mscale": 1.3, "mscale_all_dim": 1.0,
                                      "original_max_position_embeddings": 16}}],
    ),
]

_axk2 = variants_of("axk2", BASE | MLA | MOE | _INDEX | {"gated_norm_rank": 4,
                                                          "first_k_dense_replace": 1})

AXK2 = [
    _axk2(
        "classic",
        "as released: 2 of 4 groups, one dense layer of three, gated norms of rank 4, gated heads, "
        "yarn with equal mscales; bfloat16, sharded",
        {"num_hidden_layers": 3, "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
         "moe_intermediate_size": 6, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
         "topk_method": "noaux_tc", "moe_layer_freq": 1, "rope_theta": 10000,
         "attention_bias": False, "gated_norm": True, "attention_output_gate": True,
         "rope_scaling": yarn(40, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0),
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"topk_group": 4},
                 {"n_group": None, "topk_group": None}, {"routed_scaling_factor": 1.0},
                 {"rope_scaling": None}],
    ),
    _axk2(
        "light",
        "A.X-K2 Light: no groups, layers by their types, float16; a norm with another epsilon",
        {"first_k_dense_replace": DELETE, "mlp_layer_types": ["sparse", "dense", "sparse"],
         "num_hidden_layers": 3, "n_group": None, "topk_group": None, "rms_norm_eps": 0.02,
         "layer_types": ["deepseek_sparse_attention"] * 3, "head_dim": 12,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
        dtype="F16",
        matters=[{"index_topk": 64}, {"rms_norm_eps": 1e-06}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _axk2(
        "bias",
        "attention_bias, tied, gelu, no normalisation, three heads with values wider than keys, "
        "seven index heads",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
         "norm_topk_prob": False, "num_attention_heads": 3, "num_key_value_heads": 3,
         "v_head_dim": 24, "index_n_heads": 7, "n_routed_experts": 4, "num_experts_per_tok": 2,
         "routed_scaling_factor": 1.5, "rope_theta": 1000.0},
        matters=[{"index_topk": 16}, {"norm_topk_prob": True}, {"hidden_act": "silu"},
                 {"rope_theta": 100.0}],
    ),
    _axk2(
        "every-second",
        "experts in every second layer; a layer more that predicts a second token; a gate of rank "
        "1; two shared experts",
        {"num_hidden_layers": 4, "moe_layer_freq": 2, "num_nextn_predict_layers": 1,
         "gated_norm_rank": 1, "n_shared_experts": 2, "moe_intermediate_size": 4,
         "n_routed_experts": 6, "num_experts_per_tok": 2},
        dtype="BF16", shard_bytes=40000,
        matters=[{"index_topk": 64}, {"routed_scaling_factor": 1.0}],
    ),
    _axk2(
        "defaults",
        "index_topk and first_k_dense_replace by default: all keys are seen; four heads",
        {"index_topk": DELETE, "first_k_dense_replace": DELETE, "num_attention_heads": 4,
         "num_key_value_heads": 4, "rope_theta": 500.0},
        dtype="BF16",
        matters=[{"index_topk": 8}, {"norm_topk_prob": False}, {"num_experts_per_tok": 2}],
    ),
    _axk2(
        "yarn",
        "one of two groups, all layers with experts, yarn with mscales that differ; 16 keys",
        {"first_k_dense_replace": 0, "n_group": 2, "topk_group": 1, "index_topk": 16,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "mscale": 0.6, "mscale_all_dim": 1.3,
                             "original_max_position_embeddings": 16}},
        dtype="BF16", shard_bytes=25000, prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 100}, {"topk_group": 2}],
    ),
]

SPARSE = [*AXK2, *DEEPSEEK_V32, *GLM_MOE_DSA]
