# SPDX-License-Identifier: Apache-2.0
"""The golden variants of dense families."""

from .variant import BASE, DELETE, Variant


def _dense(family, name, description, config, **kwargs):
    base = BASE | {"intermediate_size": 40}
    return Variant(f"{family}-{name}", family, description, base | config, **kwargs)


DENSE = [
    _dense(
        "llama", "classic",
        "old config style, multi-head because num_key_value_heads is absent, rope_theta absent, "
        "no biases",
        {"num_key_value_heads": DELETE, "rms_norm_eps": 1e-05, "rope_scaling": None,
         "pretraining_tp": 1},
        matters=[{"rms_norm_eps": 0.1}, {"rope_theta": 100.0}],
    ),
    _dense(
        "llama", "bias",
        "attention_bias and mlp_bias, grouped-query, tied, gelu_pytorch_tanh, linear rope with "
        "old key `type`",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
         "hidden_act": "gelu_pytorch_tanh", "rope_theta": 10000.0,
         "rope_scaling": {"type": "linear", "factor": 3.0}},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"rope_scaling": None}],
    ),
    _dense(
        "llama", "llama3",
        "llama3 rope (old style), multi-query, head_dim 16 unlike H/heads, sharded",
        {"head_dim": 16, "num_key_value_heads": 1, "rope_theta": 500.0,
         "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 48}},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 40, 100),
        matters=[{"rope_scaling": None}, {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}],
    ),
    _dense(
        "llama", "dynamic",
        "dynamic NTK, context 24, prompts longer than it",
        {"max_position_embeddings": 24, "rope_theta": 10000.0,
         "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        prompts=(1, 7, 24, 25, 80), greedy_prompt=18,
        matters=[{"rope_scaling": None}],
    ),
    _dense(
        "llama", "longrope",
        "longrope with short and long factors, original context 32, attention factor from "
        "max/original",
        {"max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "longrope", "rope_theta": 1000.0, "short_factor": [1.0,
                                                                                             1.2,
                                                                                             1.5,
                                                                                             2.0],
                             "long_factor": [1.0, 2.0, 5.0, 9.0],
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 32, 33, 80), greedy_prompt=26,
        matters=[
            {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1000.0,
                                 "short_factor": [1.0, 1.2, 1.5, 2.0], "long_factor": [1.0, 1.2,
                                                                                       1.5, 2.0],
                                 "original_max_position_embeddings": 32}},
            {"max_position_embeddings": 32},
        ],
    ),
    _dense(
        "qwen2", "classic",
        "qkv biases, grouped-query, tied, rope_theta 1e6, use_sliding_window false beside a "
        "window of 4",
        {"tie_word_embeddings": True, "rope_theta": 1000000.0, "use_sliding_window": False,
         "sliding_window": 4,
         "max_window_layers": 0},
        dtype="BF16",
        matters=[{"use_sliding_window": True}, {"rope_theta": 100.0}],
    ),
    _dense(
        "qwen2", "window",
        "use_sliding_window with max_window_layers 1 of 3: layers 1 and 2 slide (16)",
        {"num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 16,
         "max_window_layers": 1,
         "rope_theta": 10000.0},
        prompts=(1, 7, 17, 60), greedy_prompt=12,
        matters=[{"use_sliding_window": False}, {"max_window_layers": 2}, {"max_window_layers": 0},
                 {"sliding_window": 15}, {"sliding_window": 17}],
    ),
    _dense(
        "qwen2", "yarn",
        "yarn in the old style of Qwen2.5 (`type`), layer_types with layer 0 sliding, multi-head",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "rope_theta": 100.0,
         "use_sliding_window": True,
         "sliding_window": 24, "max_window_layers": 2, "layer_types": ["sliding_attention",
                                                                       "full_attention"],
         "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
        prompts=(1, 7, 40, 100),
        matters=[{"rope_scaling": None}, {"layer_types": ["full_attention", "full_attention"]}],
    ),
    _dense(
        "qwen3", "classic",
        "q/k norms, head_dim 12 unlike H/heads, tied, grouped-query",
        {"head_dim": 12, "tie_word_embeddings": True, "rope_theta": 1000000.0, "rope_scaling": None,
         "attention_bias": False, "use_sliding_window": False, "sliding_window": None,
         "max_window_layers": 2},
        matters=[{"rope_theta": 100.0}],
    ),
    _dense(
        "qwen3", "default-head-dim",
        "head_dim absent (it is 128 then), attention_bias, one query head, two layers",
        {"num_attention_heads": 1, "num_key_value_heads": 1, "attention_bias": True,
         "hidden_act": "relu",
         "intermediate_size": 24, "rope_theta": 10000.0},
        dtype="F16",
        matters=[{"hidden_act": "silu"}],
    ),
    _dense(
        "qwen3", "yarn-mscale",
        "yarn with mscale and mscale_all_dim, max_window_layers 1: layer 1 slides (24)",
        {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 1,
         "use_sliding_window": True,
         "sliding_window": 24, "max_window_layers": 1,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0, "mscale": 2.0,
                             "mscale_all_dim": 0.5, "beta_fast": 8, "beta_slow": 1,
                             "original_max_position_embeddings": 32}},
        prompts=(1, 7, 40, 90),
        matters=[
            {"use_sliding_window": False},
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
                                 "beta_fast": 8,
                                 "beta_slow": 1, "original_max_position_embeddings": 32}},
        ],
    ),
]
