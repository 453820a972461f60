# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Beam."""

from .variant import BASE, DELETE, variants_of

_beam = variants_of("beam", BASE | {
    "head_dim": 12, "intermediate_size": 20, "moe_intermediate_size": 8, "num_experts": 8,
    "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "sliding_window": 6,
    "pad_token_id": None,
})


def _kinds(pattern):
    names = {"S": "sliding_attention", "F": "full_attention", "d": "dense", "s": "sparse"}
    return [names[letter] for letter in pattern]


def _default(theta):
    return {"rope_type": "default", "rope_theta": theta}


_YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0,
         "original_max_position_embeddings": 32}

BEAMS = [
    _beam(
        "classic",
        "as released: windows but for the last layer, which does not turn, the first layer dense, 2 "
        "of 4 groups, capped logits; bfloat16, sharded",
        {"num_hidden_layers": 4, "layer_types": _kinds("SSSF"), "mlp_layer_types": _kinds("dsss"),
         "rope_parameters": {"sliding_attention": _default(10000.0), "full_attention": None},
         "attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu",
         "initializer_range": 0.02, "final_logit_softcapping": 3.0, "norm_topk_prob": True,
         "routed_scaling_factor": 2.5, "rms_norm_eps": 1e-06, "output_router_logits": False,
         "tie_word_embeddings": False, "use_cache": True, "dtype": "bfloat16"},
        dtype="BF16", shard_bytes=40000,
        matters=[{"sliding_window": 16}, {"layer_types": _kinds("SSSS")},
                 {"rope_parameters": {"sliding_attention": _default(10000.0),
                                      "full_attention": _default(10000.0)}},
                 {"rope_parameters": {"sliding_attention": None, "full_attention": None}},
                 {"rope_parameters": {"sliding_attention": _default(100.0),
                                      "full_attention": None}},
                 {"final_logit_softcapping": None}, {"topk_group": 4}, {"num_experts_per_tok": 2},
                 {"n_group": 2, "topk_group": 1}, {"rms_norm_eps": 0.1}],
    ),
    _beam(
        "turned",
        "windows that do not turn and have the scale of queries, yarn in full layers; float16",
        {"num_hidden_layers": 3, "layer_types": _kinds("SFS"), "mlp_layer_types": _kinds("sds"),
         "sliding_window": 24,
         "rope_parameters": {"sliding_attention": None, "full_attention": _YARN}},
        dtype="F16", prompts=(1, 7, 40, 140),
        matters=[{"sliding_window": 8}, {"topk_group": 4},
                 {"rope_parameters": {"sliding_attention": None, "full_attention": None}},
                 {"rope_parameters": {"sliding_attention": None,
                                      "full_attention": _default(500.0)}},
                 {"rope_parameters": {"sliding_attention": _YARN, "full_attention": _YARN}}],
    ),
    _beam(
        "still",
        "nothing turns, six heads over three, five experts, norms whose epsilon counts, so that the "
        "scale of what experts give does, too; float32",
        {"num_hidden_layers": 3, "layer_types": _kinds("FSF"), "mlp_layer_types": _kinds("sss"),
         "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 10, "hidden_size": 24,
         "num_experts": 5, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
         "rms_norm_eps": 0.05, "routed_scaling_factor": 0.4,
         "rope_parameters": {"sliding_attention": None, "full_attention": None}},
        prompts=(1, 7, 40, 200),
        matters=[{"rms_norm_eps": 1e-06}, {"sliding_window": 12}, {"num_experts_per_tok": 1},
                 {"norm_topk_prob": False}, {"routed_scaling_factor": 2.5},
                 {"layer_types": _kinds("FFF")}],
    ),
    _beam(
        "biased",
        "biases of attention, weights as they are, gelu, all layers see everything, no cap, tied",
        {"num_hidden_layers": 2, "layer_types": _kinds("FF"), "mlp_layer_types": _kinds("ss"),
         "attention_bias": True, "norm_topk_prob": False, "hidden_act": "gelu",
         "final_logit_softcapping": None, "tie_word_embeddings": True, "num_key_value_heads": 1,
         "routed_scaling_factor": 0.75,
         "rope_parameters": {"sliding_attention": _default(100.0),
                             "full_attention": _default(1000.0)}},
        dtype="BF16",
        matters=[{"hidden_act": "silu"}, {"final_logit_softcapping": 2.0},
                 {"layer_types": _kinds("FS")}],
    ),
    _beam(
        "packed",
        "windows of one kind of rotation in keys of their own, all experts of a layer in one tensor",
        {"num_hidden_layers": 3, "layer_types": _kinds("SSF"), "mlp_layer_types": _kinds("dss"),
         "rope_parameters": {"rope_type": "default", "sliding_attention": {"rope_theta": 200.0},
                             "full_attention": None},
         "final_logit_softcapping": 5},
        packed=True,
        matters=[{"sliding_window": 3}, {"final_logit_softcapping": 30.0}],
    ),
    _beam(
        "defaults",
        "what can be left to its default: the sixth of seven layers and the last see everything and "
        "do not turn, three are dense, 4 of 8 groups",
        {"num_hidden_layers": 7, "num_experts": 16, "num_experts_per_tok": 4, "n_group": DELETE,
         "topk_group": DELETE, "sliding_window": DELETE, "intermediate_size": 12,
         "moe_intermediate_size": 4, "hidden_size": 24, "head_dim": 8},
        dtype="BF16", prompts=(1, 7, 80),
        matters=[{"sliding_window": 16}, {"topk_group": 8}, {"final_logit_softcapping": 1.0},
                 {"num_experts_per_tok": 2},
                 {"rope_parameters": {"sliding_attention": _default(10.0),
                                      "full_attention": None}}],
    ),
]
