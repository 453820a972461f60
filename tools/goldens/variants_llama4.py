# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Llama 4, alone and as the text model of multimodal checkpoints."""

from .variant import BASE, DELETE, Variant, inner, variants_of

_LLAMA4_BASE = BASE | {"head_dim": 8, "intermediate_size": 8, "intermediate_size_mlp": 20,
                       "num_local_experts": 4, "pad_token_id": None}


_llama4 = variants_of("llama4_text", _LLAMA4_BASE, packed=True)


def _llama3_rope(factor, low, high):
    return {"rope_type": "llama3", "factor": factor, "low_freq_factor": low,
            "high_freq_factor": high, "original_max_position_embeddings": 32}


# The text model of a published Llama 4, one level below the top of its config.json.
_LLAMA4_TEXT = _LLAMA4_BASE | {
    "model_type": "llama4_text", "num_hidden_layers": 4, "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2, "no_rope_layers": [], "use_qk_norm": True,
    "attention_chunk_size": 16, "floor_scale": 8, "attn_scale": 0.5, "rope_theta": 500000.0,
    "rope_scaling": _llama3_rope(16.0, 1.0, 1.0), "rms_norm_eps": 1e-05, "hidden_act": "silu",
    "attention_bias": False, "router_jitter_noise": 0.0, "for_llm_compressor": False}

TEXT = [
    _llama4(
        "classic",
        "as released: experts in every layer, the fourth without rope, top 1, norms of q and k, "
        "llama3 rope whose ramp is a step, keys left to their defaults",
        {"num_hidden_layers": 4, "no_rope_layers": [], "use_qk_norm": True,
         "num_experts_per_tok": 1, "rope_theta": 500000.0,
         "rope_scaling": _llama3_rope(16.0, 1.0, 1.0), "rms_norm_eps": 1e-05},
        dtype="BF16",
        matters=[{"use_qk_norm": False}, {"no_rope_layers": [1, 1, 1, 1]},
                 {"no_rope_layer_interval": 2}, {"rope_scaling": None}, {"rms_norm_eps": 0.1},
                 {"num_experts_per_tok": 2}, {"attention_chunk_size": 16}],
    ),
    _llama4(
        "interleaved",
        "every second layer dense, no norms of q and k, the temperature rises every 8 positions, "
        "rope_theta left to its 500000, a head of 12, sharded",
        {"num_hidden_layers": 4, "interleave_moe_layer_step": 2, "use_qk_norm": False,
         "head_dim": 12, "floor_scale": 8, "attn_scale": 0.5},
        dtype="BF16", shard_bytes=25000,
        matters=[{"use_qk_norm": True}, {"attn_temperature_tuning": False}, {"attn_scale": 0.1},
                 {"floor_scale": 4}, {"rope_theta": 10000.0}],
    ),
    _llama4(
        "chunked",
        "chunks of 16 positions in layers 0 and 1, all positions in layer 2",
        {"num_hidden_layers": 3, "no_rope_layer_interval": 3, "attention_chunk_size": 16,
         "rope_theta": 10000.0},
        dtype="BF16", prompts=(1, 7, 16, 17, 50), greedy_prompt=10,
        matters=[{"attention_chunk_size": 15}, {"attention_chunk_size": 17},
                 {"layer_types": ["full_attention"] * 3}],
    ),
    _llama4(
        "bias",
        "biases of attention, tied head, gelu, layers 0 and 3 without rope, experts in layers 1 "
        "and 2, top 2 of 6",
        {"num_hidden_layers": 4, "attention_bias": True, "tie_word_embeddings": True,
         "hidden_act": "gelu", "no_rope_layers": [0, 1, 1, 0], "moe_layers": [1, 2],
         "num_local_experts": 6, "num_experts_per_tok": 2, "floor_scale": 16,
         "attn_temperature_tuning": True},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 1},
                 {"no_rope_layers": [1, 1, 1, 0]}, {"attn_temperature_tuning": False}],
    ),
    _llama4(
        "floors",
        "the temperature rises at every third position of layers 1 and 3, top 2 of 4, linear rope, "
        "relu, a wider epsilon, experts in the last layer alone",
        {"num_hidden_layers": 4, "no_rope_layer_interval": 2, "floor_scale": 3, "attn_scale": 0.3,
         "num_experts_per_tok": 2, "hidden_act": "relu", "rms_norm_eps": 1e-03,
         "moe_layers": [3],
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0}},
        dtype="BF16", prompts=(1, 7, 40, 70),
        matters=[{"floor_scale": 8}, {"attn_scale": 0.1}, {"rms_norm_eps": 0.1},
                 {"hidden_act": "silu"},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _llama4(
        "layer-types",
        "chunks in the layer without rope and in one with it, yarn, two heads of 16, multi-query, "
        "no temperature, float16",
        {"num_hidden_layers": 3, "no_rope_layers": [1, 0, 1], "attention_chunk_size": 12,
         "layer_types": ["full_attention", "chunked_attention", "chunked_attention"],
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
         "attn_temperature_tuning": False, "floor_scale": 4, "num_experts_per_tok": 3,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="F16", prompts=(1, 7, 40, 60),
        matters=[{"layer_types": ["full_attention", "full_attention", "chunked_attention"]},
                 {"layer_types": ["chunked_attention"] * 3}, {"attn_temperature_tuning": True},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]


def _inner(name, description, text, outer, **kwargs):
    """`matters` names changes of the text model."""
    text = inner(_LLAMA4_TEXT, text)
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"llama4-{name}", "llama4", description, {"text_config": text} | outer, **kwargs)


_IDS = {"image_token_index": 196, "boi_token_index": 197, "eoi_token_index": 198}

MULTIMODAL = [
    _inner(
        "multimodal",
        "the text model of a multimodal checkpoint: keys in text_config, tensors below "
        "language_model, dense and expert layers, chunks, sharded",
        {}, {"torch_dtype": "bfloat16", "tie_word_embeddings": False, "image_token_index": 92,
             "boi_token_index": 80, "eoi_token_index": 81},
        dtype="BF16", shard_bytes=25000, prompts=(1, 7, 40),
        matters=[{"use_qk_norm": False}, {"attention_chunk_size": 64}, {"attn_scale": 0.1}],
    ),
    _inner(
        "biases",
        "biases of attention, a tied head, gelu, layers 0 and 3 without rope, experts in layers 1 "
        "and 2, top 2 of 6, no chunks; float16",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
         "no_rope_layers": [0, 1, 1, 0], "moe_layers": [1, 2], "num_local_experts": 6,
         "num_experts_per_tok": 2, "attention_chunk_size": None, "rope_scaling": DELETE,
         "floor_scale": 16, "interleave_moe_layer_step": DELETE},
        _IDS | {"tie_word_embeddings": True}, dtype="F16",
        matters=[{"hidden_act": "silu"}, {"no_rope_layers": [1, 1, 1, 0]},
                 {"num_experts_per_tok": 1}, {"attention_chunk_size": 8},
                 {"attn_temperature_tuning": False}],
    ),
    _inner(
        "floors",
        "every second layer without rope, where the temperature rises at every third position; "
        "linear rope, relu, a wider epsilon, experts in the last layer alone",
        {"no_rope_layers": DELETE, "no_rope_layer_interval": 2, "floor_scale": 3,
         "attn_scale": 0.3, "num_experts_per_tok": 2, "hidden_act": "relu", "rms_norm_eps": 1e-03,
         "moe_layers": [3], "attention_chunk_size": 12, "rope_theta": DELETE,
         "rope_scaling": DELETE,
         "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0}},
        _IDS, prompts=(1, 7, 40, 70),
        matters=[{"floor_scale": 8}, {"rms_norm_eps": 0.1}, {"no_rope_layer_interval": 4},
                 {"hidden_act": "silu"}, {"attention_chunk_size": 13},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}],
    ),
    _inner(
        "yarn",
        "chunks in the layer without rope and in one with it, yarn, two heads of 16, one key head, "
        "no temperature, every layer sparse, top 3; bfloat16, sharded",
        {"num_hidden_layers": 3, "no_rope_layers": [1, 0, 1], "attention_chunk_size": 12,
         "layer_types": ["full_attention", "chunked_attention", "chunked_attention"],
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
         "interleave_moe_layer_step": 1, "attn_temperature_tuning": False,
         "num_experts_per_tok": 3, "rope_theta": DELETE, "rope_scaling": DELETE,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        {"dtype": "bfloat16"}, dtype="BF16", shard_bytes=30000, prompts=(1, 7, 60),
        matters=[{"layer_types": ["chunked_attention"] * 3}, {"attn_temperature_tuning": True},
                 {"num_experts_per_tok": 1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
    _inner(
        "plain",
        "no norms of q and k, experts in every third layer, rotations that nothing stretches, "
        "chunks and floors by default, as many key heads as heads, widths that no vector has",
        {"use_qk_norm": False, "interleave_moe_layer_step": 3, "num_hidden_layers": 3,
         "rope_scaling": None, "rope_theta": 300.0, "attention_chunk_size": DELETE,
         "floor_scale": DELETE, "attn_scale": DELETE, "num_attention_heads": 3,
         "num_key_value_heads": 3, "head_dim": 10, "hidden_size": 26, "intermediate_size": 7,
         "intermediate_size_mlp": 13, "num_local_experts": 3},
        {"image_token_index": 196},
        matters=[{"use_qk_norm": True}, {"rope_theta": 20.0}, {"attention_chunk_size": 8}],
    ),
    _inner(
        "far",
        "rotations of two factors by length, all of three experts, gelu by tanh; float16, sharded",
        {"num_hidden_layers": 2, "no_rope_layers": [1, 1], "interleave_moe_layer_step": 1,
         "num_local_experts": 3, "num_experts_per_tok": 3, "hidden_act": "gelu_pytorch_tanh",
         "rope_theta": DELETE, "rope_scaling": DELETE,
         "rope_parameters": {"rope_type": "longrope", "rope_theta": 100.0, "factor": 4.0,
                             "short_factor": [1.0, 1.1, 1.2, 1.5],
                             "long_factor": [1.0, 2.0, 3.0, 4.0],
                             "original_max_position_embeddings": 32}},
        _IDS,
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 33, 60), greedy_prompt=20,
        matters=[{"hidden_act": "relu"}, {"num_experts_per_tok": 1},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}],
    ),
]

LLAMA4 = [*TEXT, *MULTIMODAL]
