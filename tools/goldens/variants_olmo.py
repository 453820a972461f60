# SPDX-License-Identifier: Apache-2.0
"""The golden variants of OLMo 2 and 3, Phi-3 and Seed-OSS, dense."""

from .variant import BASE, DELETE, variants_of

_DENSE = BASE | {"intermediate_size": 24, "pad_token_id": None}
_SLIDING, _FULL = "sliding_attention", "full_attention"

_olmo2 = variants_of("olmo2", _DENSE)
_olmo3 = variants_of("olmo3", _DENSE)
_seed = variants_of("seed_oss", _DENSE | {"head_dim": 8})


def _yarn(theta, **more):
    return {"rope_type": "yarn", "rope_theta": theta, "factor": 4.0,
            "original_max_position_embeddings": 32} | more


_DEFAULT_100 = {"rope_type": "default", "rope_theta": 100.0}

OLMO2 = [
    _olmo2(
        "classic",
        "as released: as many key heads as heads, own head",
        {"num_key_value_heads": 4, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "rope_theta": 500000, "rope_scaling": None, "attention_bias": False,
         "attention_dropout": 0.0, "tie_word_embeddings": False, "use_cache": False},
        dtype="BF16",
        matters=[{"rope_theta": 100}, {"rms_norm_eps": 0.1}],
    ),
    _olmo2(
        "bias",
        "biases of attention, gelu, float16, sharded",
        {"attention_bias": True, "hidden_act": "gelu",
         "num_key_value_heads": DELETE, "num_hidden_layers": 3},
        dtype="F16", shard_bytes=20000,
        matters=[{"hidden_act": "silu"}],
    ),
    _olmo2(
        "yarn",
        "yarn, heads of 16, one key head, relu, tied embeddings",
        {"head_dim": 16, "num_key_value_heads": 1, "hidden_act": "relu",
         "tie_word_embeddings": True, "rope_parameters": _yarn(100.0)},
        prompts=(1, 7, 60),
        matters=[{"rope_parameters": _DEFAULT_100}, {"hidden_act": "silu"}],
    ),
]

OLMO3 = [
    _olmo3(
        "classic",
        "as released: every fourth layer sees all, and yarn stretches it alone; old keys",
        {"num_hidden_layers": 4, "sliding_window": 12, "num_key_value_heads": 4,
         "layer_types": [_SLIDING, _SLIDING, _SLIDING, _FULL], "rms_norm_eps": 1e-06,
         "rope_theta": 500000,
         "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "attention_factor": 1.2079441541679836,
                          "beta_fast": 32, "beta_slow": 1,
                          "original_max_position_embeddings": 32},
         "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False},
        dtype="BF16", prompts=(1, 7, 60),
        matters=[{"rope_scaling": None}, {"sliding_window": 13}, {"layer_types": [_SLIDING] * 4},
                 {"rms_norm_eps": 0.1}],
    ),
    _olmo3(
        "defaults",
        "what can be left to its default, of five layers, but for tied embeddings",
        {"num_hidden_layers": 5, "sliding_window": 10, "num_key_value_heads": DELETE,
         "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"sliding_window": 11}, {"layer_types": [_SLIDING] * 5}],
    ),
    _olmo3(
        "by-kind",
        "a rope for each kind of layer, biases, gelu, float16",
        {"layer_types": [_FULL, _SLIDING], "sliding_window": 9, "attention_bias": True,
         "hidden_act": "gelu",
         "rope_parameters": {_FULL: _yarn(1000.0), _SLIDING: _DEFAULT_100}},
        dtype="F16", prompts=(1, 7, 60),
        matters=[{"rope_parameters": {_FULL: _DEFAULT_100, _SLIDING: _DEFAULT_100}},
                 {"rope_parameters": {_FULL: _yarn(1000.0),
                                      _SLIDING: {"rope_type": "default", "rope_theta": 5.0}}},
                 {"hidden_act": "silu"}],
    ),
]

SEED = [
    _seed(
        "classic",
        "as released: biases of q, k and v, not of the output",
        {"attention_bias": True, "attention_out_bias": False, "mlp_bias": False,
         "attention_dropout": 0.1, "residual_dropout": 0.1, "hidden_act": "silu",
         "rms_norm_eps": 1e-06, "rope_theta": 10000000.0, "rope_scaling": {"rope_type": "default"},
         "tie_word_embeddings": False, "head_dim": 16},
        dtype="BF16",
        matters=[{"rope_theta": 100.0}, {"rms_norm_eps": 0.1}],
    ),
    _seed(
        "bias",
        "all biases, tied embeddings, gelu, as many key heads as heads, float16, sharded",
        {"attention_out_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
         "hidden_act": "gelu", "num_key_value_heads": None},
        dtype="F16", shard_bytes=20000,
        matters=[{"hidden_act": "silu"}],
    ),
    _seed(
        "no-bias",
        "no bias but that of the output, yarn",
        {"attention_bias": False, "attention_out_bias": True, "num_key_value_heads": 1,
         "rope_parameters": _yarn(100.0)},
        prompts=(1, 7, 60),
        matters=[{"rope_parameters": _DEFAULT_100}],
    ),
]

_phi3 = variants_of("phi3", _DENSE | {"original_max_position_embeddings": 32})

_LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 2.0],
             "long_factor": [1.5, 2.5, 5.0, 9.0]}

PHI3 = [
    _phi3(
        "classic",
        "Phi-3-mini, Phi-4: no stretching, a window that is wider than all prompts but one",
        {"num_key_value_heads": 4, "sliding_window": 30, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
         "attention_dropout": 0.0, "hidden_act": "silu", "rms_norm_eps": 1e-05,
         "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
         "attention_bias": False},
        dtype="BF16", shard_bytes=20000,
        matters=[{"sliding_window": 31}, {"rope_theta": 100.0}, {"rms_norm_eps": 0.1}],
    ),
    _phi3(
        "longrope",
        "Phi-3-mini-128k: longrope, one prompt beyond the first context, gelu, float16",
        {"num_key_value_heads": DELETE, "rope_scaling": _LONGROPE, "hidden_act": "gelu",
         "max_position_embeddings": 256},
        dtype="F16", prompts=(1, 7, 31, 60),
        matters=[{"rope_scaling": None}, {"hidden_act": "silu"},
                 {"max_position_embeddings": 64}],
    ),
    _phi3(
        "partial",
        "Phi-4-mini: three quarters of each head turn, longrope, tied, one key head, relu",
        {"num_key_value_heads": 1, "partial_rotary_factor": 0.75, "tie_word_embeddings": True,
         "hidden_act": "relu",
         "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.2, 1.6],
                          "long_factor": [1.5, 3.0, 7.0]}},
        prompts=(1, 7, 60),
        matters=[{"rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0, 1.0],
                                   "long_factor": [1.0, 1.0, 1.0]}}, {"hidden_act": "silu"}],
    ),
]

OLMO = [*OLMO2, *OLMO3, *PHI3, *SEED]
