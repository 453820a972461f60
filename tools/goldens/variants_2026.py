# SPDX-License-Identifier: Apache-2.0
"""The golden variants of the families in families_2026.py."""

from .variant import BASE, DELETE, Variant, inner, variants_of

# Two heads of 12 + 8, values of 10: no width stands for another.
_MLA = {
    "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 16, "kv_lora_rank": 14,
    "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10,
}
_MOE = {
    "intermediate_size": 20, "moe_intermediate_size": 8, "n_routed_experts": 8,
    "n_shared_experts": 1, "num_experts_per_tok": 3,
}


def _scaled(beta, original=16, **other):
    """YaRN of Mistral 4: queries beyond `original` are scaled."""
    return {"type": "yarn", "rope_type": "yarn", "rope_theta": 500.0, "factor": 8.0,
            "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": beta, "original_max_position_embeddings": original} | other


def _linear(beta, factor):
    return {"rope_type": "linear", "rope_theta": 1000.0, "factor": factor,
            "llama_4_scaling_beta": beta, "original_max_position_embeddings": 12}


_mistral4 = variants_of("mistral4", BASE | _MLA | _MOE, packed=True)

MISTRAL4 = [
    _mistral4(
        "classic",
        "as released: yarn with equal mscales, queries scaled beyond 16 positions, all layers with "
        "experts, one shared; bfloat16, sharded",
        {"first_k_dense_replace": 0, "n_group": 1, "topk_group": 1, "head_dim": 20,
         "qk_head_dim": 20, "norm_topk_prob": True, "routed_scaling_factor": 1.0,
         "rope_interleave": True, "attention_bias": False, "hidden_act": "silu",
         "rms_norm_eps": 1e-06, "dtype": "bfloat16",
         "rope_parameters": _scaled(0.1, max_position_embeddings=256, partial_rotary_factor=0.4)},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40, 70),
        matters=[{"rope_parameters": _scaled(0.0)}, {"rope_parameters": _scaled(0.3)},
                 {"rope_parameters": _scaled(0.1, 32)}, {"rope_interleave": False},
                 {"rope_parameters": _scaled(0.1, mscale_all_dim=0.5)},
                 {"norm_topk_prob": False}, {"num_experts_per_tok": 2}],
    ),
    _mistral4(
        "groups",
        "two of four groups by their two best probabilities, one dense layer of three, weights not "
        "normalised and scaled",
        {"num_hidden_layers": 3, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2,
         "norm_topk_prob": False, "routed_scaling_factor": 2.5,
         "rope_parameters": _scaled(0.2, 8)},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"topk_group": 4}, {"n_group": 1, "topk_group": 1}, {"norm_topk_prob": True},
                 {"routed_scaling_factor": 1.0}, {"rope_parameters": _scaled(0.2, 16)}],
    ),
    _mistral4(
        "defaults",
        "no rope_parameters: those of Mistral Small 4, whose scale of scores is theirs; no group "
        "keys, float16",
        {"n_shared_experts": 2, "max_position_embeddings": 1048576},
        dtype="F16",
        matters=[{"rope_parameters": _scaled(0.1, 8192)}, {"rope_interleave": False}],
    ),
    _mistral4(
        "no-lora",
        "queries without a latent, three heads, linear rotations, queries scaled",
        {"q_lora_rank": None, "num_attention_heads": 3, "num_key_value_heads": 3,
         "n_routed_experts": 6, "num_experts_per_tok": 2, "rope_parameters": _linear(0.4, 2.0)},
        matters=[{"num_experts_per_tok": 3}, {"rope_parameters": _linear(0.0, 2.0)},
                 {"rope_parameters": _linear(0.4, 4.0)}],
    ),
    _mistral4(
        "bias",
        "attention_bias, halves rotated, tied, gelu, one of two groups, eps that counts",
        {"attention_bias": True, "rope_interleave": False, "tie_word_embeddings": True,
         "hidden_act": "gelu", "n_group": 2, "topk_group": 1, "rms_norm_eps": 0.05,
         "num_experts_per_tok": 2, "num_key_value_heads": None,
         "rope_parameters": _scaled(0.1, mscale=0.6, mscale_all_dim=1.3)},
        matters=[{"rope_interleave": True}, {"hidden_act": "silu"}, {"rms_norm_eps": 1e-06},
                 {"topk_group": 2}, {"rope_parameters": _scaled(0.1, mscale_all_dim=1.3)}],
    ),
    _mistral4(
        "yarn",
        "a factor of attention in place of mscales, truncated nowhere, values wider than keys; "
        "float16, sharded",
        {"v_head_dim": 24, "q_lora_rank": 8, "num_attention_heads": 1, "num_key_value_heads": 1,
         "moe_intermediate_size": 6,
         "rope_parameters": _scaled(0.1, 16, attention_factor=0.8, mscale=None,
                                    mscale_all_dim=0.0, truncate=False)},
        dtype="F16", shard_bytes=20000, prompts=(1, 7, 40),
        matters=[{"rope_parameters": _scaled(0.1, 16, attention_factor=1.0, mscale=None,
                                             mscale_all_dim=0.0, truncate=False)}],
    ),
]

_MISTRAL_TEXT = BASE | _MLA | _MOE | {"model_type": "mistral4", "pad_token_id": None,
                                      "tie_word_embeddings": False,
                                      "rope_parameters": _scaled(0.1)}
_PIXTRAL = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "image_size": 8,
            "num_attention_heads": 2, "num_hidden_layers": 1, "patch_size": 2, "head_dim": 8}


def _turning(beta, factor):
    """Of rope_scaling, which Transformers does not tell how much of a head turns."""
    return _linear(beta, factor) | {"partial_rotary_factor": 0.4}


def _mistral3(name, description, text, outer=None, **kwargs):
    """`matters` names changes of the text model."""
    text = inner(_MISTRAL_TEXT, text)
    config = {"text_config": text, "vision_config": _PIXTRAL, "image_token_index": 196,
              "projector_hidden_act": "gelu", "multimodal_projector_bias": False,
              "spatial_merge_size": 2, "vision_feature_layer": -1, "tie_word_embeddings": False}
    config |= outer or {}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"mistral3-{name}", "mistral3", description, config, **kwargs)


MISTRAL3 = [
    _mistral3(
        "classic",
        "as released: Mistral 4 below text_config, tensors below language_model",
        {"first_k_dense_replace": 0, "n_group": 1, "topk_group": 1, "rope_interleave": True,
         "norm_topk_prob": True, "routed_scaling_factor": 1.0},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"routed_scaling_factor": 2.0}, {"rope_parameters": _scaled(0.3)},
                 {"num_experts_per_tok": 2}],
    ),
    _mistral3(
        "dense",
        "one dense layer of three, two shared experts, halves rotated",
        {"num_hidden_layers": 3, "first_k_dense_replace": 1, "n_shared_experts": 2,
         "rope_interleave": False, "moe_intermediate_size": 6},
        matters=[{"rope_interleave": True}, {"norm_topk_prob": False}],
    ),
    _mistral3(
        "groups",
        "one of two groups, no latent of queries",
        {"n_group": 2, "topk_group": 1, "q_lora_rank": None, "n_routed_experts": 6,
         "num_experts_per_tok": 2},
        dtype="F16",
        matters=[{"topk_group": 2}, {"routed_scaling_factor": 2.0}],
    ),
    _mistral3(
        "biases",
        "biases of attention, a tied head, gelu, an epsilon that counts, two mscales, weights as "
        "they are, num_local_experts for n_routed_experts, image_token_id",
        {"attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
         "rms_norm_eps": 0.05, "norm_topk_prob": False, "num_local_experts": 6,
         "n_routed_experts": DELETE, "num_experts_per_tok": 2, "num_key_value_heads": None,
         "rope_parameters": _scaled(0.2, 8, mscale=0.6, mscale_all_dim=1.3)},
        outer={"tie_word_embeddings": True, "image_token_id": 196, "image_token_index": DELETE},
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 1e-06}, {"norm_topk_prob": True},
                 {"rope_parameters": _scaled(0.2, 8, mscale_all_dim=1.3)}],
    ),
    _mistral3(
        "linear",
        "linear rotations in rope_scaling and beside it, queries scaled beyond 12 positions, one "
        "head whose values are wider than its keys, top 1; float16, sharded",
        {"num_attention_heads": 1, "num_key_value_heads": 1, "v_head_dim": 24, "head_dim": 20,
         "num_experts_per_tok": 1, "routed_scaling_factor": 2.5, "rope_parameters": DELETE,
         "rope_scaling": _turning(0.4, 2.0)},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 12, 40),
        matters=[{"rope_scaling": _turning(0.0, 2.0)}, {"rope_scaling": _turning(0.4, 4.0)},
                 {"num_experts_per_tok": 2}, {"routed_scaling_factor": 1.0}],
    ),
    _mistral3(
        "defaults",
        "no rope_parameters: those of Mistral Small 4; two of four groups, one dense layer; "
        "bfloat16",
        {"rope_parameters": DELETE, "max_position_embeddings": 1048576, "n_group": 4,
         "topk_group": 2, "first_k_dense_replace": 1},
        dtype="BF16",
        matters=[{"rope_parameters": _scaled(0.1, 8192)}, {"rope_interleave": False},
                 {"topk_group": 4}],
    ),
]


def _ropes(full, local, part=0.667, **other):
    """Rotations of layers that see everything and of those with a window."""
    return {"full_attention": {"rope_type": "default", "rope_theta": full,
                               "partial_rotary_factor": part} | other,
            "sliding_attention": {"rope_type": "default", "rope_theta": local,
                                  "partial_rotary_factor": part}}


_mimo = variants_of("mimo_v2_flash", BASE | _MOE | {
    "num_key_value_heads": 1, "head_dim": 12, "v_head_dim": 10, "n_shared_experts": None,
    "sliding_window": 8, "num_hidden_layers": 3,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "rope_parameters": _ropes(5000.0, 100.0),
})
_DENSE_FIRST = ["dense", "sparse", "sparse"]

MIMO = [
    _mimo(
        "classic",
        "as released: the first layer dense, one with a window of 8 and twice the heads of keys, "
        "sinks there alone, two thirds of a head rotated, bfloat16, sharded",
        {"mlp_layer_types": _DENSE_FIRST, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
         "routed_scaling_factor": None, "attention_value_scale": 0.707, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-05, "dtype": "bfloat16",
         "tie_word_embeddings": False},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"sliding_window": 16}, {"attention_value_scale": None},
                 {"rope_parameters": _ropes(100.0, 100.0)}, {"num_experts_per_tok": 2},
                 {"rope_parameters": _ropes(5000.0, 5000.0)},
                 {"rope_parameters": _ropes(5000.0, 100.0, 0.334)}, {"norm_topk_prob": False}],
    ),
    _mimo(
        "defaults",
        "seven layers of which the first and the sixth see everything by rule, rotations by "
        "default, a third of a head; float16",
        {"layer_types": DELETE, "rope_parameters": DELETE, "num_hidden_layers": 7,
         "moe_intermediate_size": 6, "n_routed_experts": 6, "num_experts_per_tok": 2},
        dtype="F16",
        matters=[{"sliding_window": 16}, {"routed_scaling_factor": 2.0},
                 {"attention_value_scale": 1.0},
                 {"rope_parameters": _ropes(5e6, 1e4, 0.667)}],
    ),
    _mimo(
        "groups",
        "one of two groups, weights not normalised and scaled, biases of q, k and v, three heads "
        "of keys for six of queries",
        {"n_group": 2, "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 2.5,
         "attention_bias": True, "num_attention_heads": 6, "num_key_value_heads": 3,
         "mlp_layer_types": ["sparse", "dense", "sparse"], "num_experts_per_tok": 2},
        dtype="BF16",
        matters=[{"topk_group": 2}, {"routed_scaling_factor": 1.0}, {"norm_topk_prob": True}],
    ),
    _mimo(
        "wide-values",
        "values wider than keys and not scaled, multi-query where everything is seen, tied, gelu, "
        "an eps that counts",
        {"v_head_dim": 20, "head_dim": 8, "attention_value_scale": None, "hidden_act": "gelu",
         "tie_word_embeddings": True, "rms_norm_eps": 0.05,
         "rope_parameters": _ropes(500.0, 100.0, 0.5)},
        matters=[{"hidden_act": "silu"}, {"rms_norm_eps": 1e-05},
                 {"attention_value_scale": 0.707}],
    ),
    _mimo(
        "yarn",
        "yarn where everything is seen, all layers with experts, half a head rotated there and a "
        "whole one in windows of 3",
        {"mlp_layer_types": ["sparse"] * 3, "sliding_window": 3,
         "rope_parameters": _ropes(500.0, 100.0, 1.0, rope_type="yarn", factor=8.0,
                                   partial_rotary_factor=0.5,
                                   original_max_position_embeddings=16)},
        dtype="BF16", prompts=(1, 7, 40),
        matters=[{"sliding_window": 6}, {"rope_parameters": _ropes(500.0, 100.0, 0.5)},
                 {"rope_parameters": _ropes(500.0, 100.0, 1.0)}],
    ),
    _mimo(
        "windows",
        "all layers with windows, each with sinks and twice the heads of keys",
        {"layer_types": ["sliding_attention"] * 3, "num_key_value_heads": 2,
         "rope_parameters": {"sliding_attention": _ropes(1.0, 1000.0)["sliding_attention"]}},
        dtype="F16",
        matters=[{"sliding_window": 16}, {"num_experts_per_tok": 2}],
    ),
]

_axk1 = variants_of("axk1", BASE | _MLA | _MOE | {"first_k_dense_replace": 1, "n_group": 4,
                                                  "topk_group": 2})

AXK1 = [
    _axk1(
        "classic",
        "as released: a norm behind the experts of all layers but the first, which is dense, two of "
        "four groups, yarn with equal mscales, bfloat16, sharded",
        {"num_hidden_layers": 3, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
         "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "ep_size": 1,
         "seq_aux": True, "aux_loss_alpha": 0.0001, "rope_theta": 10000,
         "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 16,
                          "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"routed_scaling_factor": 1.0}, {"topk_group": 4}, {"rope_scaling": None},
                 {"norm_topk_prob": False}],
    ),
    _axk1(
        "no-groups",
        "no groups, two shared experts, all layers with experts, an eps that counts, float16",
        {"q_lora_rank": 8, "n_group": 1, "topk_group": 1, "n_shared_experts": 2,
         "first_k_dense_replace": 0, "rms_norm_eps": 0.05, "rope_theta": 500.0},
        dtype="F16",
        matters=[{"rms_norm_eps": 1e-06}, {"rope_theta": 100.0}, {"num_experts_per_tok": 2}],
    ),
    _axk1(
        "bias",
        "attention_bias, halves rotated, tied, gelu, weights scaled down",
        {"attention_bias": True, "rope_interleave": False, "tie_word_embeddings": True,
         "hidden_act": "gelu", "routed_scaling_factor": 0.3, "rope_theta": 500.0},
        matters=[{"rope_interleave": True}, {"hidden_act": "silu"},
                 {"routed_scaling_factor": 2.5}],
    ),
]

_ARIA_TEXT = BASE | {
    "model_type": "aria_text", "intermediate_size": 8, "moe_num_experts": 8, "moe_topk": 3,
    "moe_num_shared_experts": 2, "rope_theta": 5000.0, "pad_token_id": None,
    "tie_word_embeddings": False,
}
_IDEFICS = {"model_type": "idefics3_vision", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 2}


def _aria(name, description, text, **kwargs):
    """`matters` names changes of the text model."""
    text = _ARIA_TEXT | text
    config = {"text_config": text, "vision_config": _IDEFICS, "image_token_index": 196,
              "projector_patch_to_query_dict": {"16": 4}, "tie_word_embeddings": False}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"aria-{name}", "aria", description, config, **kwargs)


ARIA = [
    _aria(
        "classic",
        "as released: all experts in two tensors, two shared ones, bfloat16, sharded",
        {"attention_bias": False, "hidden_act": "silu", "mlp_bias": False, "rms_norm_eps": 1e-06},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40),
        matters=[{"moe_topk": 2}, {"rope_theta": 100.0}],
    ),
    _aria(
        "bias",
        "biases of attention and of the shared expert, multi-query, an eps that counts",
        {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1, "rms_norm_eps": 0.05,
         "moe_num_shared_experts": 1},
        matters=[{"rms_norm_eps": 1e-06}, {"moe_topk": 1}],
    ),
    _aria(
        "yarn",
        "yarn, top 1 of 4, multi-head, float16",
        {"moe_num_experts": 4, "moe_topk": 1, "num_key_value_heads": 4, "head_dim": 8,
         "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
                          "original_max_position_embeddings": 16}},
        dtype="F16", prompts=(1, 7, 40),
        matters=[{"rope_scaling": None}, {"moe_topk": 2}],
    ),
]

LATEST = [*ARIA, *AXK1, *MIMO, *MISTRAL4, *MISTRAL3]
