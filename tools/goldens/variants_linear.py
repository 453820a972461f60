# SPDX-License-Identifier: Apache-2.0
"""The golden variants of families with linear attention.

Shapes of linear attention that hold as many numbers are among the changes that must matter: heads
of another width would fit the same tensors.
"""

from dataclasses import replace

from .variant import BASE, Variant, variants_of

_HYBRID = BASE | {
    "head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 10, "shared_expert_intermediate_size": 12,
}
_LINEAR, _FULL = "linear_attention", "full_attention"
_OTHER_KEYS = {"linear_num_key_heads": 4, "linear_key_head_dim": 4}

_next = variants_of("qwen3_next", _HYBRID | {"intermediate_size": 20})

NEXT = [
    _next(
        "classic",
        "as released: old config style, every fourth layer full, a quarter of each head turns, top 3 "
        "of 8, one tensor per expert, a tensor of multi-token prediction",
        {"num_hidden_layers": 4, "full_attention_interval": 4, "num_experts": 8,
         "num_experts_per_tok": 3, "norm_topk_prob": True, "partial_rotary_factor": 0.25,
         "rope_theta": 10000000, "rope_scaling": None, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "decoder_sparse_step": 1,
         "mlp_only_layers": [], "linear_conv_kernel_dim": 4, "use_sliding_window": False,
         "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 2}, {"rope_theta": 10}, {"partial_rotary_factor": 0.5},
                 {"norm_topk_prob": False}, {"rms_norm_eps": 0.1}, _OTHER_KEYS],
    ),
    _next(
        "listed",
        "layer_types begin with a full layer, rope_parameters, packed experts, a tied head, as many "
        "key heads as value heads, prompts beyond a chunk of the parallel form",
        {"num_hidden_layers": 3, "layer_types": [_FULL, _LINEAR, _LINEAR],
         "linear_num_key_heads": 4, "rope_parameters": {"rope_type": "default",
                                                        "rope_theta": 1000.0,
                                                        "partial_rotary_factor": 0.5},
         "tie_word_embeddings": True},
        packed=True, prompts=(1, 7, 70, 140),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                      "partial_rotary_factor": 1.0}},
                 {"linear_num_key_heads": 2, "linear_key_head_dim": 16}],
    ),
    _next(
        "dense",
        "a dense layer in the middle, biases, gelu also behind the convolution, whose kernel is 2",
        {"num_hidden_layers": 3, "full_attention_interval": 3, "mlp_only_layers": [1],
         "attention_bias": True, "hidden_act": "gelu", "linear_conv_kernel_dim": 2},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"num_experts_per_tok": 1}],
    ),
    _next(
        "odd",
        "heads of widths that no vector has, three value heads to a key head, kernel 3, weights of "
        "experts as they are, every other layer sparse",
        {"num_hidden_layers": 4, "full_attention_interval": 2, "linear_num_key_heads": 2,
         "linear_num_value_heads": 6, "linear_key_head_dim": 5, "linear_value_head_dim": 19,
         "linear_conv_kernel_dim": 3, "norm_topk_prob": False, "decoder_sparse_step": 2,
         "num_key_value_heads": 4},
        dtype="BF16", prompts=(1, 2, 3, 33),
        matters=[{"norm_topk_prob": True}],
    ),
    _next(
        "wide",
        "one key head for both value heads, of 80 numbers each, multi-query, all of 4 experts",
        {"num_key_value_heads": 1, "full_attention_interval": 2, "linear_num_key_heads": 1,
         "linear_num_value_heads": 2, "linear_key_head_dim": 24, "linear_value_head_dim": 80,
         "num_experts": 4, "num_experts_per_tok": 4, "partial_rotary_factor": 1.0},
        dtype="BF16", prompts=(1, 7, 100),
        matters=[{"partial_rotary_factor": 0.25},
                 {"linear_num_key_heads": 2, "linear_key_head_dim": 12}],
    ),
    _next(
        "pointwise",
        "a convolution that sees one row only, linear rope, full layers first and last, top 1",
        {"num_hidden_layers": 3, "layer_types": [_FULL, _LINEAR, _FULL],
         "linear_conv_kernel_dim": 1, "num_experts_per_tok": 1, "rms_norm_eps": 1e-05,
         "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0,
                             "partial_rotary_factor": 0.5}},
        dtype="BF16",
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 500.0,
                                      "partial_rotary_factor": 0.5}},
                 {"num_experts_per_tok": 2}],
    ),
]

# Ids of pictures are beyond the vocabulary: Transformers looks for them in every text.
_OUTER = {"image_token_id": 196, "video_token_id": 197, "vision_start_token_id": 198,
          "vision_end_token_id": 199, "tie_word_embeddings": False}
_VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 2,
           "out_hidden_size": 32, "num_position_embeddings": 16}
_SECTIONS = {"mrope_interleaved": True, "mrope_section": [1, 1, 0], "rope_type": "default"}
# Keys of released files that say what is always computed.
_RELEASED = {"attn_output_gate": True, "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1,
             "mtp_use_dedicated_embeddings": False, "full_attention_interval": 4}


def _qwen35(experts):
    family = "qwen3_5_moe" if experts else "qwen3_5"
    usual = _HYBRID if experts else {
        key: value for key, value in _HYBRID.items() if "expert" not in key and "moe" not in key
    } | {"intermediate_size": 20}

    def make(name, description, text, outer=None, **fields):
        text = usual | {"model_type": f"{family}_text", "pad_token_id": None} | text
        config = {"text_config": text, "vision_config": _VISION | {"model_type": family}}
        config |= _OUTER | (outer or {})
        fields["matters"] = [{"text_config": text | change} for change in fields["matters"]]
        return Variant(f"{family}-{name}", family, description, config, **fields)
    return make


_moe = _qwen35(experts=True)
_dense = _qwen35(experts=False)

QWEN35_MOE = [
    _moe(
        "classic",
        "as released: layer_types of four layers, sections of positions, experts in one tensor, "
        "tensors of pictures and of multi-token prediction",
        {"num_hidden_layers": 4, "layer_types": [_LINEAR, _LINEAR, _LINEAR, _FULL],
         "num_experts": 8, "num_experts_per_tok": 3, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "linear_conv_kernel_dim": 4,
         "mlp_only_layers": [], "dtype": "bfloat16", "tie_word_embeddings": False,
         "rope_parameters": _SECTIONS | {"rope_theta": 10000000, "partial_rotary_factor": 0.25}}
        | _RELEASED,
        dtype="BF16", shard_bytes=60000,
        matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}, _OTHER_KEYS,
                 {"rope_parameters": _SECTIONS | {"rope_theta": 10, "partial_rotary_factor": 0.25}}],
    ),
    _moe(
        "apart",
        "one tensor per expert, five experts, half of each head turns, prompts beyond a chunk of the "
        "parallel form",
        {"full_attention_interval": 2, "num_experts": 5,
         "rope_parameters": _SECTIONS | {"mrope_section": [2, 1, 1], "rope_theta": 1000.0,
                                         "partial_rotary_factor": 0.5}},
        prompts=(1, 7, 70, 140),
        matters=[{"num_experts_per_tok": 1},
                 {"rope_parameters": _SECTIONS | {"mrope_section": [2, 1, 1], "rope_theta": 10.0,
                                                  "partial_rotary_factor": 0.5}}],
    ),
    _moe(
        "biases",
        "biases, gelu, a tied head, as many key heads as value heads, float16",
        {"num_hidden_layers": 3, "full_attention_interval": 3, "attention_bias": True,
         "hidden_act": "gelu", "linear_num_key_heads": 4, "tie_word_embeddings": True},
        {"tie_word_embeddings": True},
        dtype="F16",
        matters=[{"hidden_act": "silu"}, {"linear_num_key_heads": 2, "linear_key_head_dim": 16}],
    ),
    _moe(
        "odd",
        "heads of widths that no vector has, three value heads to a key head, kernel 3",
        {"layer_types": [_FULL, _LINEAR, _LINEAR], "num_hidden_layers": 3,
         "linear_num_value_heads": 6, "linear_key_head_dim": 5, "linear_value_head_dim": 19,
         "linear_conv_kernel_dim": 3, "num_key_value_heads": 4},
        dtype="BF16", prompts=(1, 2, 3, 33),
        matters=[{"num_experts_per_tok": 3}],
    ),
    _moe(
        "wide",
        "one key head for both value heads, of 80 numbers each, multi-query, all of 4 experts",
        {"num_key_value_heads": 1, "full_attention_interval": 2, "linear_num_key_heads": 1,
         "linear_num_value_heads": 2, "linear_key_head_dim": 24, "linear_value_head_dim": 80,
         "num_experts": 4, "num_experts_per_tok": 4},
        dtype="BF16", prompts=(1, 7, 100),
        matters=[{"linear_num_key_heads": 2, "linear_key_head_dim": 12}],
    ),
    _moe(
        "pointwise",
        "a convolution that sees one row only, whole heads turn, top 1",
        {"full_attention_interval": 2, "linear_conv_kernel_dim": 1, "num_experts_per_tok": 1,
         "rms_norm_eps": 1e-05,
         "rope_parameters": _SECTIONS | {"mrope_section": [4, 2, 2], "rope_theta": 500.0,
                                         "partial_rotary_factor": 1.0}},
        dtype="BF16",
        matters=[{"num_experts_per_tok": 2}],
    ),
]

QWEN35 = [
    _dense(
        "classic",
        "as released: layer_types of four layers, sections of positions, tensors of pictures and of "
        "multi-token prediction",
        {"num_hidden_layers": 4, "layer_types": [_LINEAR, _LINEAR, _LINEAR, _FULL],
         "rope_parameters": _SECTIONS | {"rope_theta": 10000000, "partial_rotary_factor": 0.25}}
        | _RELEASED,
        dtype="BF16",
        matters=[{"rms_norm_eps": 0.1}, _OTHER_KEYS,
                 {"rope_parameters": _SECTIONS | {"rope_theta": 10, "partial_rotary_factor": 0.25}}],
    ),
    _dense(
        "biases",
        "biases, gelu, a tied head, kernel 2, prompts beyond a chunk of the parallel form",
        {"full_attention_interval": 2, "attention_bias": True, "hidden_act": "gelu",
         "linear_conv_kernel_dim": 2, "tie_word_embeddings": True},
        {"tie_word_embeddings": True},
        prompts=(1, 7, 140),
        matters=[{"hidden_act": "silu"}],
    ),
    _dense(
        "odd",
        "heads of widths that no vector has, three value heads to a key head, full layers around",
        {"layer_types": [_FULL, _LINEAR, _FULL], "num_hidden_layers": 3,
         "linear_num_value_heads": 6, "linear_key_head_dim": 5, "linear_value_head_dim": 19},
        dtype="F16", prompts=(1, 2, 3, 33),
        matters=[{"rms_norm_eps": 0.1}],
    ),
]


def _alone(variant):
    """The text model by itself, with the same keys."""
    family, name = variant.model_type, variant.name.split("-", 1)[1]
    return replace(variant, name=f"{family}_text-{name}", model_type=f"{family}_text",
                   description=f"the text model alone: {variant.description}",
                   config=variant.config["text_config"],
                   matters=[change["text_config"] for change in variant.matters])


_text = variants_of("qwen3_5_moe_text", _HYBRID)

TEXT = [_alone(v) for v in QWEN35_MOE[:3] + QWEN35[:3]] + [
    _text(
        "linear",
        "linear rope of the old style without sections, heads of widths that no vector has, three "
        "value heads to a key head, kernel 3, multi-query; float16, sharded",
        {"layer_types": [_FULL, _LINEAR, _LINEAR], "num_hidden_layers": 3,
         "linear_num_value_heads": 6, "linear_key_head_dim": 5, "linear_value_head_dim": 19,
         "linear_conv_kernel_dim": 3, "num_key_value_heads": 1, "rope_theta": 500.0,
         "partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 4.0}},
        dtype="F16", shard_bytes=30000, prompts=(1, 2, 3, 33),
        matters=[{"num_experts_per_tok": 3}, {"rope_scaling": None},
                 {"partial_rotary_factor": 1.0}],
    ),
    _text(
        "yarn",
        "yarn beside sections, one key head for both value heads, of 40 numbers each, all of 4 "
        "experts, narrower than the shared one, prompts beyond a chunk of the parallel form",
        {"full_attention_interval": 2, "linear_num_key_heads": 1, "linear_num_value_heads": 2,
         "linear_key_head_dim": 24, "linear_value_head_dim": 40, "num_experts": 4,
         "num_experts_per_tok": 4, "moe_intermediate_size": 7,
         "shared_expert_intermediate_size": 15, "num_key_value_heads": 4,
         "rope_parameters": _SECTIONS | {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                         "partial_rotary_factor": 1.0, "mrope_section": [4, 2, 2],
                                         "original_max_position_embeddings": 32}},
        dtype="BF16", prompts=(1, 7, 100),
        matters=[{"linear_num_key_heads": 2, "linear_key_head_dim": 12},
                 {"rope_parameters": _SECTIONS | {"rope_theta": 100.0,
                                                  "partial_rotary_factor": 1.0}}],
    ),
    _text(
        "dynamic",
        "dynamic NTK beyond a context of 24, a convolution that sees one row only, every second "
        "layer linear behind a full one, top 1, relu, an epsilon that counts",
        {"layer_types": [_FULL, _LINEAR, _FULL], "num_hidden_layers": 3, "hidden_act": "relu",
         "linear_conv_kernel_dim": 1, "num_experts_per_tok": 1, "rms_norm_eps": 0.01,
         "max_position_embeddings": 24, "hidden_size": 24,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0,
                             "partial_rotary_factor": 0.5}},
        dtype="BF16", prompts=(1, 7, 25, 60), greedy_prompt=18,
        matters=[{"num_experts_per_tok": 2}, {"hidden_act": "silu"}, {"rms_norm_eps": 1e-06},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                      "partial_rotary_factor": 0.5}}],
    ),
]

LINEAR = NEXT + QWEN35_MOE + QWEN35 + TEXT
