# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Inkling: its text model alone, and inside of the published one."""

from .variant import BASE, DELETE, Variant, inner, variants_of

_SMALL = {
    "head_dim": 8, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
    "sliding_window_size": 6, "d_rel": 4, "rel_extent": 10, "moe_intermediate_size": 8,
    "intermediate_size": 20, "n_routed_experts": 6, "num_experts_per_tok": 2,
}
_text = variants_of("inkling_text", BASE | _SMALL, "inkling", packed=True)

# As Inkling-Small's file has them.
_PUBLISHED = {key: value for key, value in (BASE | _SMALL).items()
              if key not in ("max_position_embeddings", "moe_intermediate_size")} | {
    "model_max_length": 256, "q_bias": False, "o_bias": False, "log_scaling_n_floor": 12,
    "log_scaling_alpha": 0.4, "rms_norm_eps": 1e-06, "use_embed_norm": True, "use_sconv": True,
    "sconv_kernel_size": 4, "unpadded_vocab_size": 90, "logits_mup_width_multiplier": 16.0,
    "final_logit_softcapping": None, "n_shared_experts": 2, "shared_expert_sink": True,
    "dense_intermediate_size": 20, "route_scale": 2.5, "use_gate_bias": True,
    "gate_activation": "sigmoid", "norm_after_topk": True, "use_global_scale": True,
    "local_layer_ids": [0, 2], "dense_mlp_idx": 1, "num_hidden_layers": 3,
}
_VISION = {"patch_size": 2, "temporal_patch_size": 2, "n_channels": 3, "hidden_size": 8,
           "n_layers": 3, "num_attention_heads": 1}
_AUDIO = {"n_mel_bins": 2, "mel_vocab_size": 2}


def _inner(name, description, text, outer=None, **kwargs):
    """`matters` names changes of the text model."""
    text = inner({}, text)
    config = {"text_config": text, "vision_config": _VISION, "audio_config": _AUDIO}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"inkling-{name}", "inkling_mm_model", description, config | (outer or {}),
                   **kwargs)


MULTIMODAL = [
    _inner(
        "classic",
        "as released: the authors' keys and names, a dense layer, two shared experts, a full layer "
        "between two that slide, six tokens that are never predicted; bfloat16, sharded",
        _PUBLISHED | {"moe_intermediate_size": 8, "intermediate_size": 8},
        {"mtp_config": {"num_nextn_predict_layers": 1, "local_layer_ids": [0]},
         "image_token_id": 200054, "audio_token_id": 200053, "eos_token_id": None},
        dtype="BF16", shard_bytes=30000, prompts=(1, 7, 40), greedy_prompt=9,
        matters=[{"log_scaling_n_floor": None}, {"log_scaling_alpha": 0.1}, {"route_scale": 8.0},
                 {"logits_mup_width_multiplier": 24.0}, {"unpadded_vocab_size": None},
                 {"num_experts_per_tok": 3}, {"rms_norm_eps": 0.1}],
    ),
    _inner(
        "modules",
        "the names and keys of Transformers below text_config, one shared expert, all layers "
        "sparse; float16",
        BASE | _SMALL | {"layer_types": ["hybrid", "hybrid_sliding"], "conv_kernel_size": 4,
                         "mlp_layer_types": ["sparse", "sparse"], "n_shared_experts": 1,
                         "route_scale": 1.0, "logits_mup_width_multiplier": 4.0,
                         "model_type": "inkling_text", "tie_word_embeddings": False,
                         "number_of_conv_states": 4, "num_mtp_layers": None,
                         "rms_norm_eps_moe_gate": 1e-06, "shared_expert_sink": True},
        dtype="F16", prompts=(1, 7, 11, 50),
        matters=[{"route_scale": 2.0}, {"logits_mup_width_multiplier": 1.0}],
    ),
    _inner(
        "narrow",
        "the authors' names: layers that slide have other heads, of another size, and a third as "
        "many that share keys; one shared expert, no dense layer, no floor, no unpadded vocabulary",
        _PUBLISHED | {
            "swa_num_attention_heads": 6, "swa_num_key_value_heads": 1, "swa_head_dim": 12,
            "swa_v_head_dim": 12, "v_head_dim": 8, "num_attention_heads": 3,
            "num_key_value_heads": 3, "d_rel": 7, "n_shared_experts": 1, "dense_mlp_idx": 0,
            "log_scaling_n_floor": None, "unpadded_vocab_size": None, "local_layer_ids": [1],
            "moe_intermediate_size": 8, "intermediate_size": 8, "num_hidden_layers": 2},
        dtype="F16", shard_bytes=30000, prompts=(1, 6, 7, 30),
        matters=[{"log_scaling_n_floor": 4}, {"num_experts_per_tok": 1},
                 {"route_scale": 1.0}],
    ),
    _inner(
        "wide",
        "the authors' names: more distances than tokens, one profile, kernels over seven rows by "
        "their other key, one key head, top 1 of five, three shared experts, two dense layers of "
        "three, gelu",
        inner(_PUBLISHED, {
            "rel_extent": 200, "sliding_window_size": 33, "d_rel": 1, "sconv_kernel_size": DELETE,
            "conv_kernel_size": 7, "num_key_value_heads": 1, "num_experts_per_tok": 1,
            "n_routed_experts": 5, "n_shared_experts": 3, "dense_mlp_idx": 2, "hidden_act": "gelu",
            "local_layer_ids": DELETE, "layer_types": ["hybrid", "hybrid_sliding", "hybrid"],
            "moe_intermediate_size": 6, "intermediate_size": 6, "log_scaling_n_floor": 1}),
        prompts=(1, 6, 8, 70),
        matters=[{"log_scaling_alpha": 0.1}, {"route_scale": 1.0}, {"hidden_act": "silu"},
                 {"rms_norm_eps": 0.1}],
    ),
    _inner(
        "saved",
        "as Transformers 5.24 writes it: the norm of embeddings in the embedding, both lists of "
        "layers, a dense layer behind a sparse one, keys of layers that predict; bfloat16, sharded",
        BASE | _SMALL | {
            "num_hidden_layers": 3, "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
            "local_layer_ids": [0, 2], "mlp_layer_types": ["sparse", "dense", "sparse"],
            "conv_kernel_size": 2, "n_shared_experts": 2, "route_scale": 1.5,
            "logits_mup_width_multiplier": 3.0, "log_scaling_n_floor": 3, "log_scaling_alpha": 0.5,
            "model_type": "inkling_text", "number_of_conv_states": 4, "num_mtp_layers": 1,
            "mtp_local_layer_ids": [0], "mtp_hidden_states_first": True,
            "chain_hidden_post_norm": False, "unpadded_vocab_size": 80, "hidden_act": "silu",
            "rms_norm_eps_moe_gate": 1e-06, "shared_expert_sink": True},
        {"image_token_id": 196, "audio_token_id": 197, "transformers_version": "5.24.0"},
        dtype="BF16", shard_bytes=30000, prompts=(1, 2, 9, 50),
        matters=[{"log_scaling_alpha": 0.1}, {"unpadded_vocab_size": None},
                 {"logits_mup_width_multiplier": 24.0}, {"route_scale": 5.0}],
    ),
    _inner(
        "words",
        "names of Transformers, other words: sliding_window, embedding_multiplier and "
        "num_local_experts; relu, top 3, a window as wide as the profiles; float16",
        inner(BASE | _SMALL, {
            "model_type": "inkling_text", "sliding_window_size": DELETE, "sliding_window": 9,
            "rel_extent": 9, "n_routed_experts": DELETE, "num_local_experts": 5,
            "num_experts_per_tok": 3, "embedding_multiplier": 6.0, "hidden_act": "relu",
            "layer_types": ["hybrid_sliding", "hybrid"], "route_scale": 2.0}),
        dtype="F16", prompts=(1, 9, 10, 40),
        matters=[{"hidden_act": "silu"}, {"route_scale": 1.0}, {"embedding_multiplier": 3.0},
                 {"num_experts_per_tok": 1}],
    ),
]

TEXT = [
    _text(
        "heads",
        "layers that slide have other heads, of another size, and a third as many that share keys; "
        "float32",
        {"num_hidden_layers": 3, "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
         "swa_num_attention_heads": 6, "swa_num_key_value_heads": 1, "swa_head_dim": 12,
         "num_attention_heads": 3, "num_key_value_heads": 3, "n_shared_experts": 3, "d_rel": 7,
         "route_scale": 2.0, "dense_mlp_idx": 1, "log_scaling_n_floor": None},
        prompts=(1, 6, 7, 30),
        matters=[{"log_scaling_n_floor": 4}, {"num_experts_per_tok": 1}],
    ),
    _text(
        "kinds",
        "layers of both kinds have the same shapes, and kernels over two rows; gelu, an extent of "
        "a window; bfloat16",
        {"num_hidden_layers": 3, "layer_types": ["hybrid", "hybrid_sliding", "hybrid"],
         "rel_extent": 9, "sliding_window_size": 9, "conv_kernel_size": 2, "hidden_act": "gelu",
         "mlp_layer_types": ["sparse", "dense", "sparse"], "log_scaling_n_floor": 3,
         "route_scale": 1.5},
        dtype="BF16", prompts=(1, 2, 9, 10, 60),
        matters=[{"layer_types": ["hybrid_sliding", "hybrid", "hybrid"]},
                 {"layer_types": ["hybrid"] * 3}, {"log_scaling_n_floor": 6},
                 {"log_scaling_alpha": 0.5}, {"hidden_act": "silu"}],
    ),
    _text(
        "long",
        "more distances than tokens, one profile, kernels over seven rows, one key head, top 1",
        {"rel_extent": 200, "sliding_window_size": 33, "d_rel": 1, "conv_kernel_size": 7,
         "num_key_value_heads": 1, "num_experts_per_tok": 1, "local_layer_ids": [1],
         "log_scaling_n_floor": 1, "log_scaling_alpha": 0.2, "route_scale": 3.0},
        dtype="BF16", prompts=(1, 6, 8, 70),
        matters=[{"log_scaling_alpha": 0.3}, {"route_scale": 1.0}, {"rms_norm_eps": 0.1}],
    ),
    _text(
        "defaults",
        "no layer_types, mlp_layer_types, kernels, shared experts or scales: those of Inkling, in "
        "which the sixth layer is full",
        {"num_hidden_layers": 6, "hidden_size": 24, "n_routed_experts": 3,
         "moe_intermediate_size": 4},
        dtype="BF16", prompts=(1, 7, 25),
        matters=[{"logits_mup_width_multiplier": 12.0}, {"num_experts_per_tok": 1}],
    ),
    _text(
        "authors",
        "the authors' keys of the text model alone: the width of experts in intermediate_size, "
        "tokens that are never predicted, one shared expert, both lists of layers; float16, sharded",
        _PUBLISHED | {"moe_intermediate_size": DELETE, "intermediate_size": 8, "n_shared_experts": 1,
                      "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"]},
        dtype="F16", shard_bytes=30000,
        matters=[{"unpadded_vocab_size": None}, {"route_scale": 8.0}, {"rms_norm_eps": 0.1},
                 {"logits_mup_width_multiplier": 24.0}],
    ),
    _text(
        "odd",
        "widths that no vector has, sliding_window for sliding_window_size, four experts of 5 and "
        "all of them, relu, dense layers around a sparse one, half as many heads where layers slide",
        {"hidden_size": 26, "num_hidden_layers": 3, "sliding_window_size": DELETE,
         "sliding_window": 7, "rel_extent": 7, "n_routed_experts": 4, "num_experts_per_tok": 4,
         "moe_intermediate_size": 5, "intermediate_size": 13, "hidden_act": "relu",
         "mlp_layer_types": ["dense", "sparse", "dense"], "layer_types": [
             "hybrid", "hybrid_sliding", "hybrid_sliding"],
         "head_dim": 10, "swa_num_attention_heads": 2, "swa_num_key_value_heads": 1,
         "swa_head_dim": 6, "d_rel": 3, "conv_kernel_size": 3, "route_scale": 2.0,
         "logits_mup_width_multiplier": 5.0, "rms_norm_eps": 0.01},
        prompts=(1, 7, 8, 40),
        matters=[{"route_scale": 1.0}, {"hidden_act": "silu"}, {"rms_norm_eps": 1e-06},
                 {"logits_mup_width_multiplier": 10.0}],
    ),
]

INKLING = [*MULTIMODAL, *TEXT]
