# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Inkling 2: its text model alone, and inside of the published one."""

from .variant import BASE, Variant, variants_of

SMALL = {
    "head_dim": 8, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
    "sliding_window_size": 6, "d_rel": 4, "rel_extent": 10, "moe_intermediate_size": 8,
    "n_routed_experts": 6, "num_experts_per_tok": 2, "unpadded_vocab_size": 96,
}
_text = variants_of("inkling2_text", BASE | SMALL, "inkling2")
_BLOCKS = {"num_hidden_layers": 5, "n_layers_per_attn_res_block": 2}

VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 2,
          "projection_hidden_dim": 8, "posemb_grid_size": 2, "text_hidden_size": 32}


def inner(model_type, prefix):
    """Makes variants inside of a model for pictures; `matters` names changes of the text model."""
    def make(name, description, text, **kwargs):
        config = {"text_config": text, "vision_config": VISION, "image_token_id": 95,
                  "eos_token_id": None}
        kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
        return Variant(f"{prefix}-{name}", model_type, description, config, **kwargs)
    return make


_inner = inner("inkling2", "inkling2")

INKLING2 = [
    _inner(
        "classic",
        "the authors' names: layers of both kinds in sums of two layers, six tokens that are never "
        "predicted; bfloat16, sharded",
        BASE | SMALL | _BLOCKS | {
            "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding", "hybrid",
                            "hybrid_sliding"],
            "log_scaling_n_floor": 12, "log_scaling_alpha": 0.4, "unpadded_vocab_size": 90,
            "qk_l2_clip_threshold": 4.0, "rel_l2_clip_threshold": 1.5, "route_scale": 2.5,
            "mlp_gate_softcap": 1.0, "mlp_up_softcap": 2.0, "final_logit_softcapping": 3.0},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40), greedy_prompt=9,
        matters=[{"log_scaling_n_floor": 128000}, {"log_scaling_alpha": 0.1}, {"route_scale": 8.0},
                 {"qk_l2_clip_threshold": 3.0}, {"rel_l2_clip_threshold": 8.0},
                 {"mlp_gate_softcap": 4.0}, {"mlp_up_softcap": 25.0}, {"num_experts_per_tok": 3},
                 {"final_logit_softcapping": 30.0}, {"rms_norm_eps": 0.1},
                 {"n_layers_per_attn_res_block": 3}],
    ),
    _inner(
        "modules",
        "the names of Transformers below text_config, and the other spelling of some keys; a "
        "layer without a window comes first; float16",
        {key: value for key, value in (BASE | SMALL).items()
         if key not in ("moe_intermediate_size", "max_position_embeddings", "sliding_window_size")}
        | {"layer_types": ["hybrid", "hybrid_sliding"], "sconv_kernel_size": 3,
           "intermediate_size": 12, "model_max_length": 256, "sliding_window": 5,
           "routed_scaling_factor": 1.5, "unpadded_vocab_size": 91, "scoring_func": "sigmoid",
           "model_type": "inkling2_text", "tie_word_embeddings": False, "hidden_act": "silu",
           "log_scaling_n_floor": 2, "number_of_conv_states": 4},
        dtype="F16", prompts=(1, 7, 11, 50),
        matters=[{"routed_scaling_factor": 2.0}, {"log_scaling_n_floor": 4},
                 {"log_scaling_alpha": 0.5}],
    ),
    _text(
        "heads",
        "layers that slide have other heads, of another size, and a third as many that share keys; "
        "float32",
        {"num_hidden_layers": 3, "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
         "swa_num_attention_heads": 6, "swa_num_key_value_heads": 1, "swa_head_dim": 12,
         "num_attention_heads": 3, "num_key_value_heads": 3, "d_rel": 7, "route_scale": 2.0,
         "n_layers_per_attn_res_block": 1, "qk_l2_clip_threshold": 5.0},
        prompts=(1, 6, 7, 30),
        matters=[{"n_layers_per_attn_res_block": 2}, {"num_experts_per_tok": 1},
                 {"qk_l2_clip_threshold": 4.0}],
    ),
    _text(
        "kinds",
        "layers of both kinds have the same profiles, in one sum; kernels over two rows; bfloat16",
        {"num_hidden_layers": 3, "layer_types": ["hybrid", "hybrid_sliding", "hybrid"],
         "rel_extent": 9, "sliding_window_size": 9, "conv_kernel_size": 2,
         "log_scaling_n_floor": 3, "route_scale": 1.5, "unpadded_vocab_size": 80},
        dtype="BF16", prompts=(1, 2, 9, 10, 60),
        matters=[{"log_scaling_n_floor": 6}, {"log_scaling_alpha": 0.5},
                 {"n_layers_per_attn_res_block": 2}],
    ),
    _text(
        "long",
        "more distances than tokens, one profile, kernels over seven rows, one key head, top 1",
        {"rel_extent": 200, "sliding_window_size": 33, "d_rel": 1, "conv_kernel_size": 7,
         "num_key_value_heads": 1, "num_experts_per_tok": 1, "log_scaling_n_floor": 1,
         "layer_types": ["hybrid_sliding", "hybrid"], "log_scaling_alpha": 0.2,
         "route_scale": 3.0, "rel_l2_clip_threshold": 0.5},
        dtype="BF16", prompts=(1, 6, 8, 70),
        matters=[{"log_scaling_alpha": 0.3}, {"route_scale": 1.0}, {"rms_norm_eps": 0.1},
                 {"rel_l2_clip_threshold": 8.0}],
    ),
    _text(
        "defaults",
        "no layer_types, kernels, sums, limits or scales: those of Inkling 2, in which the sixth "
        "layer is full and the seventh begins a sum",
        {"num_hidden_layers": 7, "hidden_size": 24, "n_routed_experts": 3,
         "moe_intermediate_size": 4},
        dtype="BF16", prompts=(1, 7, 25),
        matters=[{"route_scale": 4.0}, {"num_experts_per_tok": 1}, {"mlp_gate_softcap": 2.0},
                 {"mlp_up_softcap": 4.0}, {"final_logit_softcapping": 10.0}],
    ),
]
