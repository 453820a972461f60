# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Flint."""

from .variant import BASE, DELETE, variants_of

_SLIDING, _FULL = "sliding_attention", "full_attention"

_flint = variants_of("flint", BASE | {
    "head_dim": 12, "intermediate_size": 20, "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 10, "num_experts": 8, "num_experts_per_tok": 3,
    "sliding_window": 8, "num_hidden_layers": 3,
})


def _plain(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


FLINT = [
    _flint(
        "classic",
        "as released: two dense layers that see everything, then windows, the last layer full; "
        "bfloat16, sharded",
        {"num_hidden_layers": 5, "num_experts": 6, "num_experts_per_tok": 2,
         "layer_types": [_FULL, _FULL, _SLIDING, _SLIDING, _FULL], "mlp_only_layers": [0, 1],
         "decoder_sparse_step": 1, "norm_topk_prob": True, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "router_aux_loss_coef": 0.0005,
         "output_router_logits": False, "pad_token_id": 0, "tie_word_embeddings": False,
         "dtype": "bfloat16", **_plain(10000.0)},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 40),
        matters=[{"num_experts_per_tok": 3}, {"sliding_window": 9}, {"norm_topk_prob": False},
                 {"layer_types": [_FULL, _FULL, _SLIDING, _FULL, _FULL]}, _plain(100.0),
                 {"rms_norm_eps": 0.1}],
    ),
    _flint(
        "defaults",
        "what can be left to its default: seven layers, of which the first two, the sixth and the "
        "last see everything by rule and the first two are dense; a window of 513",
        {"num_hidden_layers": 7, "sliding_window": DELETE, "num_experts": 4,
         "num_experts_per_tok": 2, "moe_intermediate_size": 6},
        dtype="BF16",
        matters=[{"norm_topk_prob": False}, {"sliding_window": 4}, {"rope_theta": 10.0}],
    ),
    _flint(
        "window",
        "the same rules with windows of 6; rope_theta beside them",
        {"num_hidden_layers": 4, "sliding_window": 6, "mlp_only_layers": None, "num_experts": 5,
         "num_experts_per_tok": 2, "rope_theta": 500.0},
        prompts=(1, 6, 7, 40),
        matters=[{"sliding_window": 7}, {"rope_theta": 50.0}, {"num_experts_per_tok": 1}],
    ),
    _flint(
        "sparse",
        "no dense layer, all slide, weights as they are, experts in one tensor and names of "
        "Transformers' modules; biases; float16",
        {"mlp_only_layers": [], "layer_types": [_SLIDING] * 3, "norm_topk_prob": False,
         "attention_bias": True, **_plain(300.0)},
        dtype="F16", packed=True,
        matters=[{"norm_topk_prob": True}, {"sliding_window": 9}, _plain(30.0),
                 {"layer_types": [_SLIDING, _FULL, _SLIDING]}],
    ),
    _flint(
        "steps",
        "every second layer has experts, but for one; nothing rotates, one head of keys, tied, gelu",
        {"num_hidden_layers": 4, "layer_types": [_FULL] * 4, "decoder_sparse_step": 2,
         "mlp_only_layers": [3], "num_key_value_heads": 1, "hidden_act": "gelu",
         "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"layer_types": [_SLIDING] * 4},
                 {"num_experts_per_tok": 2}],
    ),
    _flint(
        "linear",
        "linear rotations, top 1, whose weight is 1, an eps that counts, as many heads of keys as of "
        "queries; float16, sharded",
        {"mlp_only_layers": [2], "layer_types": [_SLIDING, _FULL, _SLIDING],
         "num_experts_per_tok": 1, "num_key_value_heads": 4, "rms_norm_eps": 0.05,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}},
        dtype="F16", shard_bytes=30000,
        matters=[_plain(500.0), {"norm_topk_prob": False}, {"rms_norm_eps": 1e-06}],
    ),
]
