# SPDX-License-Identifier: Apache-2.0
"""The golden variants of ZAYA1."""

from .variant import BASE, variants_of

_zaya = variants_of("zaya", BASE | {
    "head_dim": 8, "moe_intermediate_size": 8, "num_experts": 6, "num_experts_per_tok": 1,
    "router_hidden_size": 12,
}, packed=True)


def _ropes(hybrid, sliding=None, **beside):
    entries = {"hybrid": hybrid} | ({"hybrid_sliding": sliding} if sliding else {})
    return {"rope_parameters": entries | beside}


def _plain(theta, partial=0.5):
    return {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": partial}


_YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0, "partial_rotary_factor": 1.0,
         "original_max_position_embeddings": 16}

ZAYA = [
    _zaya(
        "classic",
        "as released: all layers hybrid, half of a head turns, both kernels over two rows, a "
        "rope_type beside the entries; bfloat16, sharded",
        {"num_hidden_layers": 3, "layer_types": ["hybrid"] * 3, "attention_bias": False,
         "attention_dropout": 0.0, "cca_time0": 2, "cca_time1": 2, "hidden_act": "silu",
         "lm_head_bias": False, "output_router_logits": False, "pad_token_id": 0,
         "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05, "sliding_window": None,
         "tie_word_embeddings": True, "dtype": "bfloat16",
         **_ropes(_plain(5000000), _plain(10000.0), rope_type="default")},
        dtype="BF16", shard_bytes=30000, prompts=(1, 2, 7, 40),
        matters=[_ropes(_plain(100.0)), _ropes(_plain(5000000, 1.0)), {"rms_norm_eps": 0.1},
                 {"hidden_act": "gelu"}],
    ),
    _zaya(
        "sliding",
        "two of three layers slide, with a rotation of their own; float16, sharded",
        {"num_hidden_layers": 3, "sliding_window": 9,
         "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
         **_ropes(_plain(1000.0), _plain(50.0, 1.0))},
        dtype="F16", shard_bytes=30000, prompts=(1, 9, 10, 60), greedy_prompt=12,
        matters=[{"sliding_window": 10}, {"sliding_window": 8},
                 {"layer_types": ["hybrid", "hybrid", "hybrid_sliding"]},
                 _ropes(_plain(1000.0), _plain(50.0)),
                 _ropes(_plain(1000.0), _plain(1000.0, 1.0))],
    ),
    _zaya(
        "kernels",
        "kernels over four and three rows, one key head, whose second half of values is the row "
        "before's, a head with a bias, not tied",
        {"cca_time0": 4, "cca_time1": 3, "num_key_value_heads": 1, "lm_head_bias": True,
         "tie_word_embeddings": False, **_ropes(_plain(500.0, 1.0))},
        dtype="BF16", prompts=(1, 3, 5, 7, 40),
        matters=[_ropes(_plain(50.0, 1.0)), _ropes(_plain(500.0))],
    ),
    _zaya(
        "bias",
        "attention_bias, which the first row's delayed values are; the first kernel sees its own "
        "row alone; gelu; float32",
        {"attention_bias": True, "cca_time0": 1, "hidden_act": "gelu", "rms_norm_eps": 0.01,
         **_ropes(_plain(1000.0))},
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 1e-05}],
    ),
    _zaya(
        "yarn",
        "yarn, and linear where layers slide; three key heads, of whose values the middle one has "
        "both halves; the second kernel sees its own row alone",
        {"num_attention_heads": 6, "num_key_value_heads": 3, "cca_time0": 3, "cca_time1": 1,
         "sliding_window": 20, "layer_types": ["hybrid", "hybrid_sliding"],
         **_ropes(_YARN, {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0})},
        dtype="BF16", prompts=(1, 7, 30, 70),
        matters=[_ropes(_plain(500.0, 1.0),
                        {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}),
                 _ropes(_YARN, _plain(100.0, 1.0)), {"sliding_window": 21}],
    ),
    _zaya(
        "defaults",
        "no rope_parameters, layer_types, kernels or head_bias: those of ZAYA1-8B; multi-head, "
        "four layers, two experts",
        {"num_hidden_layers": 4, "num_key_value_heads": 4, "num_experts": 2},
        dtype="BF16",
        matters=[_ropes(_plain(100.0)), {"rms_norm_eps": 0.1}],
    ),
]
