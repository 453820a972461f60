# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Qwen4-Exp."""

from dataclasses import replace

from .variant import BASE, Variant

# No width stands for another.
_TEXT = BASE | {
    "model_type": "qwen4_exp_text", "pad_token_id": None, "head_dim": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "num_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 10, "shared_expert_intermediate_size": 12, "hidden_size": 24,
    "hc_count": 4, "hc_lowrank": 7, "indexer_n_heads": 4, "indexer_kv_heads": 1,
    "indexer_head_dim": 12, "indexer_budget": 8, "indexer_compress_ratio": 4,
}
_NGRAMS = {"ple_layer_ids": [1], "ple_embed_dim": 20, "heads_per_ngram": 2, "eos_token_id": 5,
           "ngram_vocab_size_base": 40, "make_ngram_vocab_size_divisible_by": 8,
           "split_ngram_parts": 4}
_LINEAR, _FULL, _SPARSE = "linear_attention", "full_attention", "qwen_sparse_attention"
_OTHER_KEYS = {"linear_num_key_heads": 4, "linear_key_head_dim": 4}

# Ids of pictures are beyond the vocabulary: Transformers looks for them in every text.
_OUTER = {"image_token_id": 196, "video_token_id": 197, "vision_start_token_id": 198,
          "vision_end_token_id": 199}
_VISION = {"model_type": "qwen4_exp", "depth": 1, "hidden_size": 16, "intermediate_size": 16,
           "num_heads": 2, "patch_size": 2, "out_hidden_size": 24, "num_position_embeddings": 16}
_SECTIONS = {"mrope_interleaved": True, "mrope_section": [1, 1, 0], "rope_type": "default"}


def _rope(theta, partial, sections=(1, 1, 0)):
    return {"rope_parameters": _SECTIONS | {"mrope_section": list(sections), "rope_theta": theta,
                                            "partial_rotary_factor": partial}}


def _qwen4(name, description, text, **fields):
    """`matters` names changes of the text model."""
    text = _TEXT | text
    config = {"text_config": text, "vision_config": _VISION} | _OUTER
    config["tie_word_embeddings"] = text.get("tie_word_embeddings", False)
    fields["matters"] = [{"text_config": text | change} for change in fields["matters"]]
    return Variant(f"qwen4_exp-{name}", "qwen4_exp", description, config, **fields)


def _alone(variant):
    """The text model by itself, with the same keys."""
    return replace(variant, name=variant.name.replace("qwen4_exp", "qwen4_exp_text"),
                   model_type="qwen4_exp_text",
                   description=f"the text model alone: {variant.description}",
                   config=variant.config["text_config"],
                   matters=[change["text_config"] for change in variant.matters])


_CLASSIC = _qwen4(
    "classic",
    "as released: every fourth layer attends, sections of positions, a quarter of each head turns, "
    "n-grams in two layers, tables in parts, two end tokens, tensors of multi-token prediction; "
    "bfloat16, sharded",
    _NGRAMS | _rope(10000000, 0.25) | {
        "num_hidden_layers": 4, "layer_types": [_LINEAR, _LINEAR, _LINEAR, _FULL],
        "ple_layer_ids": [3, 1], "eos_token_id": [5, 9], "ngram_size": 3, "seed": 1234,
        "ple_conv_kernel_size": 4, "output_gate_type": "sigmoid", "num_experts": 8,
        "num_experts_per_tok": 3, "attention_bias": False, "hidden_act": "silu",
        "rms_norm_eps": 1e-06, "linear_conv_kernel_dim": 4, "dtype": "bfloat16",
        "norm_topk_prob": True, "tie_word_embeddings": False, "attn_output_gate": True,
        "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1,
        "mtp_use_dedicated_embeddings": False, "full_attention_interval": 4,
        "number_of_conv_states": 3, "output_router_logits": False,
        "router_aux_loss_coef": 0.001},
    dtype="BF16", shard_bytes=60000, prompts=(1, 7, 11, 12, 40),
    matters=[{"num_experts_per_tok": 2}, {"rms_norm_eps": 0.1}, _OTHER_KEYS,
             {"output_gate_type": "silu"}, {"norm_topk_prob": False}, {"indexer_budget": 64},
             {"indexer_budget": 4}, {"indexer_compress_ratio": 2}, _rope(10, 0.25)],
)
_APART = _qwen4(
    "apart",
    "one tensor per expert, five experts, pools of 3, pairs of tokens alone, another seed, prompts "
    "beyond a chunk of the parallel form",
    _NGRAMS | _rope(1000.0, 0.5, (2, 1, 1)) | {
        "num_hidden_layers": 3, "full_attention_interval": 3, "ple_layer_ids": [2],
        "ngram_size": 2, "heads_per_ngram": 4, "seed": 77, "num_experts": 5, "hc_count": 2,
        "indexer_compress_ratio": 3, "indexer_budget": 6, "vocab_size": 40},
    prompts=(1, 7, 8, 70, 140),
    matters=[{"num_experts_per_tok": 1}, {"indexer_budget": 300}, {"eos_token_id": 7},
             _rope(10.0, 0.5, (2, 1, 1))],
)
_BIASES = _qwen4(
    "biases",
    "biases, gelu, a gate of silu all the same, a tied head, as many key heads as value heads, "
    "runs of four tokens, float16",
    _NGRAMS | _rope(500.0, 0.5, (2, 1, 1)) | {
        "num_hidden_layers": 3, "full_attention_interval": 3, "attention_bias": True,
        "hidden_act": "gelu", "output_gate_type": "silu", "linear_num_key_heads": 4,
        "tie_word_embeddings": True, "ngram_size": 4, "ple_embed_dim": 18, "heads_per_ngram": 1,
        "ple_conv_kernel_size": 3, "vocab_size": 30, "eos_token_id": [11]},
    dtype="F16", prompts=(1, 2, 3, 13, 40),
    matters=[{"hidden_act": "silu"}, {"linear_num_key_heads": 2, "linear_key_head_dim": 16},
             {"eos_token_id": 7}],
)
_PLAIN = _qwen4(
    "plain",
    "no n-grams, pools of one token, whole heads turn, one key head for both value heads, "
    "multi-query, all of 4 experts, weights as they are",
    _rope(10000.0, 1.0, (4, 2, 2)) | {
        "num_hidden_layers": 3, "layer_types": [_SPARSE, _LINEAR, _SPARSE], "hc_count": 3,
        "num_key_value_heads": 1, "linear_num_key_heads": 1, "linear_num_value_heads": 2,
        "linear_key_head_dim": 24, "linear_value_head_dim": 40, "num_experts": 4,
        "num_experts_per_tok": 4, "indexer_compress_ratio": 1, "indexer_budget": 5,
        "indexer_head_dim": 16, "norm_topk_prob": False},
    dtype="BF16", prompts=(1, 5, 6, 40),
    matters=[{"linear_num_key_heads": 2, "linear_key_head_dim": 12}, {"indexer_budget": 64},
             _rope(10000.0, 0.25)],
)
_ODD = _qwen4(
    "odd",
    "heads of widths that no vector has, three value heads to a key head, kernels of 3 and 2, a "
    "layer that attends first, n-grams behind it and last, pools of 5, the usual rotation",
    _NGRAMS | {
        "layer_types": [_FULL, _LINEAR, _LINEAR], "num_hidden_layers": 3,
        "ple_layer_ids": [2, 3], "ple_embed_dim": 24, "heads_per_ngram": 3,
        "ple_conv_kernel_size": 2, "split_ngram_parts": 3, "linear_num_value_heads": 6,
        "linear_key_head_dim": 5, "linear_value_head_dim": 19, "linear_conv_kernel_dim": 3,
        "num_key_value_heads": 4, "hc_count": 3, "hc_lowrank": 5, "indexer_compress_ratio": 5,
        "indexer_budget": 10, "indexer_head_dim": 18, "indexer_n_heads": 3},
    prompts=(1, 2, 14, 15, 40),
    matters=[{"num_experts_per_tok": 3}, {"indexer_budget": 5}, _rope(10000.0, 0.5)],
)
_POINTWISE = _qwen4(
    "pointwise",
    "a convolution that sees one row only, and one of five, top 1, few tokens, of which many end, a "
    "table in one tensor, as the state dict has it",
    _NGRAMS | _rope(500.0, 0.5, (2, 1, 1)) | {
        "full_attention_interval": 2, "linear_conv_kernel_dim": 1, "ple_conv_kernel_size": 5,
        "num_experts_per_tok": 1, "norm_topk_prob": False, "rms_norm_eps": 1e-05,
        "vocab_size": 12, "hc_lowrank": 1, "indexer_n_heads": 8},
    dtype="BF16", packed=True,
    matters=[{"num_experts_per_tok": 2}, {"eos_token_id": [3, 5]}, {"rms_norm_eps": 0.1}],
)

_YARN = _qwen4(
    "yarn",
    "yarn of half of each head, one pool of six keys for each query at least, multi-query, three "
    "streams, names that Transformers gives layers, relu of networks; bfloat16",
    {"num_hidden_layers": 3, "layer_types": [_LINEAR, _SPARSE, _LINEAR], "hc_count": 3,
     "num_key_value_heads": 1, "indexer_compress_ratio": 6, "indexer_budget": 6,
     "hidden_act": "relu", "output_gate_type": "sigmoid", "linear_conv_kernel_dim": 2,
     "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                         "partial_rotary_factor": 0.5, "original_max_position_embeddings": 32,
                         "mrope_section": [2, 1, 1]}},
    dtype="BF16", prompts=(1, 7, 13, 60),
    matters=[{"indexer_budget": 12}, {"hidden_act": "silu"}, {"output_gate_type": "silu"},
             _rope(100.0, 0.5, (2, 1, 1))],
)
_LINEAR_ROPE = _qwen4(
    "linear",
    "linear rope of the old style, whole heads turn, the newest name of layers that attend, one key "
    "head for both value heads, n-grams in the first layer, a table in one tensor; packed, bfloat16",
    _NGRAMS | {"layer_types": [_LINEAR, "indexed_attention"], "ple_layer_ids": [1],
               "linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 24,
               "linear_value_head_dim": 20, "indexer_head_dim": 16, "indexer_n_heads": 12,
               "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.5},
               "num_experts": 4, "num_experts_per_tok": 4, "norm_topk_prob": False},
    dtype="BF16", packed=True,
    matters=[{"indexer_budget": 64}, {"num_experts_per_tok": 2}, {"eos_token_id": 7},
             {"rope_scaling": None}],
)
_LLAMA3 = _qwen4(
    "llama3",
    "llama3 rope of a quarter of each head, a linear layer between two that attend, no n-grams, "
    "pools of two, as many key heads as heads, top 1, an epsilon that counts; float16, sharded",
    {"layer_types": [_FULL, _LINEAR, _FULL], "num_hidden_layers": 3, "num_key_value_heads": 4,
     "indexer_compress_ratio": 2, "num_experts": 4, "num_experts_per_tok": 1, "hc_count": 2,
     "rms_norm_eps": 0.01,
     "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "partial_rotary_factor": 0.25, "original_max_position_embeddings": 32,
                         "mrope_section": [1, 1, 0]}},
    dtype="F16", shard_bytes=40000, prompts=(1, 7, 60),
    matters=[{"indexer_budget": 64}, {"num_experts_per_tok": 2}, {"rms_norm_eps": 1e-06},
             _rope(500.0, 0.25)],
)

QWEN4 = [_CLASSIC, _APART, _BIASES, _YARN, _LINEAR_ROPE, _LLAMA3, _alone(_CLASSIC),
         _alone(_APART), _alone(_PLAIN), _alone(_ODD), _alone(_POINTWISE), _alone(_YARN)]
