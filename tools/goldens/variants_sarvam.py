# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Sarvam: GLM-4.5 and DeepSeek-V3 by names of their own."""

from .variant import BASE, DELETE, variants_of
from .variants_latent import MLA, yarn

_EXPERTS = {"intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
            "num_experts_per_tok": 3}
_BY_TRANSFORMERS = {"num_experts": DELETE, "n_routed_experts": 6, "n_shared_experts": 2}

_moe = variants_of("sarvam_moe", BASE | _EXPERTS | {"head_dim": 12})

SARVAM_MOE = [
    _moe(
        "classic",
        "as released: the authors' keys, one dense layer, q and k normalised, rows of q, k and v in "
        "one matrix, bfloat16, sharded",
        {"num_hidden_layers": 3, "num_experts": 6, "num_experts_per_tok": 2,
         "num_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
         "routed_scaling_factor": 2.5, "moe_router_enable_expert_bias": True, "use_qk_norm": True,
         "use_qkv_bias": False, "use_bias": False, "embedding_dropout": 0.0,
         "output_dropout": 0.0, "attention_dropout": 0.0, "attn_implementation": "eager",
         "max_window_layers": 3, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "rope_theta": 8000000.0, "rope_scaling": None, "norm_topk_prob": True,
         "output_router_logits": False, "pad_token_id": 0, "tie_word_embeddings": False,
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"num_experts_per_tok": 3}, {"routed_scaling_factor": 1.0},
                 {"norm_topk_prob": False}, {"rope_theta": 100.0},
                 {"rms_norm_eps": 0.1}],
    ),
    _moe(
        "defaults",
        "what can be left to its default: weights times 2.5, norms, one shared expert, whole heads "
        "turn",
        {"num_experts_per_tok": 2, "num_experts": 6},
        dtype="BF16",
        matters=[{"routed_scaling_factor": 1.0}, {"rope_theta": 10.0},
                 {"partial_rotary_factor": 0.5}],
    ),
    _moe(
        "saved",
        "as Transformers says it: the class of GLM-4.5, n_routed_experts, rope_parameters; half of "
        "each head turns, two of four groups, two shared experts",
        _BY_TRANSFORMERS | {
            "architectures": ["Glm4MoeForCausalLM"], "n_routed_experts": 8, "n_group": 4,
            "topk_group": 2, "attention_bias": False, "num_nextn_predict_layers": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                "partial_rotary_factor": 0.5}},
        dtype="F16",
        matters=[{"topk_group": 4}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                      "partial_rotary_factor": 1.0}}],
    ),
    _moe(
        "bias",
        "biases of q, k and v by the authors' key, no norms, tied, gelu, weights as they are",
        {"use_qkv_bias": True, "use_qk_norm": False, "tie_word_embeddings": True,
         "hidden_act": "gelu", "norm_topk_prob": False, "num_shared_experts": 2,
         "num_key_value_heads": 1},
        matters=[{"hidden_act": "silu"}, {"norm_topk_prob": True}],
    ),
    _moe(
        "packed",
        "experts in one tensor and names of Transformers' modules, its key of biases, no dense "
        "layer, as many heads of keys as of queries",
        _BY_TRANSFORMERS | {"attention_bias": True, "first_k_dense_replace": 0,
                            "num_key_value_heads": 4, "rope_theta": 500.0},
        dtype="BF16", packed=True, shard_bytes=40000,
        matters=[{"rope_theta": 50.0}, {"routed_scaling_factor": 1.5}],
    ),
    _moe(
        "yarn",
        "yarn, two dense layers of three, top 1, whose weight is the factor",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "num_experts_per_tok": 1,
         "routed_scaling_factor": 0.7, "head_dim": 16, "rope_theta": 500.0,
         "rope_scaling": yarn(8.0)},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 60),
        matters=[{"rope_scaling": None}, {"routed_scaling_factor": 1.0}],
    ),
]

_mla = variants_of("sarvam_mla", BASE | _EXPERTS | {
    key: value for key, value in MLA.items() if key != "q_lora_rank"})


def _authors_yarn(factor, **other):
    return yarn(factor, **other) | {"type": "deepseek_yarn"}


_MSCALES = {"beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}

SARVAM_MLA = [
    _mla(
        "classic",
        "as released: the authors' keys, a head_dim of a row of vLLM's cache, their name of yarn, one "
        "dense layer; bfloat16, sharded",
        {"num_hidden_layers": 3, "num_experts": 6, "num_experts_per_tok": 2,
         "num_shared_experts": 1, "first_k_dense_replace": 1, "q_head_dim": 20, "head_dim": 22,
         "use_qk_norm": True, "moe_router_enable_expert_bias": True, "default_theta": 10000.0,
         "routed_scaling_factor": 2.5, "hidden_act": "silu", "rms_norm_eps": 1e-06,
         "rope_theta": 10000.0, "rope_scaling": _authors_yarn(40, **_MSCALES),
         "attention_bias": False, "attention_dropout": 0.0, "output_router_logits": False,
         "max_position_embeddings": 640, "tie_word_embeddings": False,
         "torch_dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 40),
        matters=[{"rope_scaling": None}, {"num_experts_per_tok": 3},
                 {"rope_scaling": _authors_yarn(40, beta_fast=32, beta_slow=1)},
                 {"routed_scaling_factor": 1.0}, {"rope_interleave": False},
                 {"rms_norm_eps": 0.1}],
    ),
    _mla(
        "defaults",
        "what can be left to its default: queries in one step, no groups, weights times 2.5",
        {"num_key_value_heads": DELETE, "num_experts": 6, "num_experts_per_tok": 2},
        dtype="BF16",
        matters=[{"routed_scaling_factor": 1.0}, {"rope_theta": 10.0}, {"norm_topk_prob": False}],
    ),
    _mla(
        "saved",
        "as Transformers says it: the class of DeepSeek-V3, n_routed_experts, rope_parameters, both "
        "widths of a head; two of four groups, two shared experts",
        _BY_TRANSFORMERS | {
            "architectures": ["DeepseekV3ForCausalLM"], "n_routed_experts": 8, "n_group": 4,
            "topk_group": 2, "head_dim": 8, "qk_head_dim": 20, "num_nextn_predict_layers": 0,
            "q_lora_rank": None, "rope_parameters": yarn(8.0, mscale=0.6, mscale_all_dim=1.3)
            | {"rope_type": "yarn", "rope_theta": 500.0}},
        dtype="F16", prompts=(1, 7, 40),
        matters=[{"topk_group": 4}, {"num_experts_per_tok": 2},
                 {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}],
    ),
    _mla(
        "lora",
        "queries by way of a low rank, halves turn, biases, tied, gelu, weights as they are",
        {"q_lora_rank": 16, "rope_interleave": False, "attention_bias": True,
         "tie_word_embeddings": True, "hidden_act": "gelu", "norm_topk_prob": False},
        matters=[{"rope_interleave": True}, {"norm_topk_prob": True}, {"hidden_act": "silu"}],
    ),
    _mla(
        "packed",
        "experts in one tensor, no dense layer, three heads, values wider than keys; sharded",
        _BY_TRANSFORMERS | {"first_k_dense_replace": 0, "num_attention_heads": 3,
                            "num_key_value_heads": 3, "v_head_dim": 24, "rope_theta": 500.0},
        dtype="BF16", packed=True, shard_bytes=40000,
        matters=[{"rope_theta": 50.0}, {"routed_scaling_factor": 1.5}],
    ),
    _mla(
        "one",
        "top 1, whose weight is the factor, one head, two dense layers of three, their name of yarn "
        "as a rope_type",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "num_experts_per_tok": 1,
         "num_attention_heads": 1, "num_key_value_heads": 1, "routed_scaling_factor": 0.7,
         "rope_theta": 500.0,
         "rope_scaling": {"rope_type": "deepseek_yarn", "factor": 8.0,
                          "original_max_position_embeddings": 16}},
        dtype="F16", shard_bytes=30000, prompts=(1, 7, 60),
        matters=[{"rope_scaling": None}, {"routed_scaling_factor": 1.0},
                 {"num_experts_per_tok": 2}],
    ),
]

SARVAM = SARVAM_MOE + SARVAM_MLA
