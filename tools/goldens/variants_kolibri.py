# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Kolibri-1."""

from .variant import BASE, DELETE, variants_of

_SLIDING, _FULL = "sliding_attention", "full_attention"

_kolibri = variants_of("kolibri1", BASE | {
    "head_dim": 12, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 10,
    "num_experts": 8, "num_experts_per_tok": 3, "sliding_window": 8,
})


def _plain(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


KOLIBRI = [
    _kolibri(
        "classic",
        "as released: every fifth layer sees everything and does not rotate, weights that do not add "
        "up to 1, keys of vLLM, bfloat16, sharded",
        {"num_hidden_layers": 5, "layer_types": [_SLIDING] * 4 + [_FULL], "norm_topk_prob": False,
         "num_experts": 6, "num_experts_per_tok": 2, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "rope_theta": 10000.0, "use_sliding_window": True, "head_dtype": "float32",
         "attention_bias": False, "attention_dropout": 0.0, "use_cache": True, "pad_token_id": 0,
         "tie_word_embeddings": False, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 40),
        matters=[{"norm_topk_prob": True}, {"num_experts_per_tok": 3}, {"sliding_window": 9},
                 {"layer_types": [_SLIDING] * 5}, {"rope_theta": 100.0}, {"rms_norm_eps": 0.1}],
    ),
    _kolibri(
        "defaults",
        "what can be left to its default: five layers, of which the last sees everything by rule, "
        "window of 513, which no prompt fills; one tensor per expert",
        {"num_hidden_layers": 5, "sliding_window": DELETE, "num_experts": 4,
         "num_experts_per_tok": 2},
        dtype="BF16",
        matters=[{"norm_topk_prob": True}, {"sliding_window": 4}, {"rope_theta": 10.0}],
    ),
    _kolibri(
        "normalised",
        "weights that add up to 1, layer_types that begin with a full layer, experts in one tensor "
        "and names of Transformers' modules; float16",
        {"num_hidden_layers": 3, "layer_types": [_FULL, _SLIDING, _SLIDING],
         "norm_topk_prob": True, **_plain(500.0)},
        dtype="F16", packed=True,
        matters=[{"norm_topk_prob": False}, {"layer_types": [_SLIDING] * 3},
                 {"sliding_window": 7}, _plain(50.0)],
    ),
    _kolibri(
        "tied",
        "all layers slide and rotate; num_local_experts, a tied head, gelu",
        {"layer_types": [_SLIDING, _SLIDING], "tie_word_embeddings": True,
         "hidden_act": "gelu", "num_experts": DELETE, "num_local_experts": 6, **_plain(300.0)},
        dtype="BF16",
        matters=[{"sliding_window": 64}, {"hidden_act": "silu"}, _plain(30.0)],
    ),
    _kolibri(
        "unrotated",
        "a window that no layer uses: nothing rotates; top 1, as many heads of keys as of queries, "
        "an eps that counts",
        {"layer_types": [_FULL, _FULL], "num_experts_per_tok": 1, "num_key_value_heads": 4,
         "rms_norm_eps": 0.05},
        matters=[{"layer_types": [_SLIDING, _FULL]}, {"norm_topk_prob": True},
                 {"rms_norm_eps": 1e-06}, {"num_experts_per_tok": 2}],
    ),
    _kolibri(
        "yarn",
        "yarn, one head of keys, three layers, heads of 16, relu; float16, sharded",
        {"num_hidden_layers": 3, "layer_types": [_SLIDING, _FULL, _SLIDING], "head_dim": 16,
         "num_key_value_heads": 1, "hidden_act": "relu", "sliding_window": 20,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                             "original_max_position_embeddings": 16}},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 60),
        matters=[_plain(500.0), {"hidden_act": "silu"}, {"sliding_window": 21}],
    ),
]
