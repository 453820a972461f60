# SPDX-License-Identifier: Apache-2.0
"""The golden variants of models with an encoder: prompts are lengths of source and target."""

from .variant import DELETE, Variant

_PROMPTS = ((1, 2), (7, 5), (40, 16))


def _switch(name, description, config, prompts=_PROMPTS, **kwargs):
    base = {"vocab_size": 96, "d_model": 32, "d_kv": 8, "d_ff": 24, "num_layers": 2,
            "num_decoder_layers": 2, "num_heads": 4, "num_experts": 4,
            "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1,
            "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
            "is_encoder_decoder": True}
    return Variant("switch_transformers-" + name, "switch_transformers", description,
                   base | config, prompts=prompts, **kwargs)


def _nllb(name, description, config, prompts=_PROMPTS, **kwargs):
    base = {"vocab_size": 96, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
            "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24, "encoder_sparse_step": 2, "decoder_sparse_step": 2,
            "num_experts": 4, "max_position_embeddings": 128, "decoder_start_token_id": 2,
            "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "is_encoder_decoder": True}
    return Variant("nllb-moe-" + name, "nllb-moe", description, base | config, prompts=prompts,
                   **kwargs)


SWITCH = [
    _switch(
        "classic",
        "as released: relu, tied, 64 places, one sparse layer of two; keys of old files",
        {"expert_capacity": 64, "dense_act_fn": "relu", "encoder_sparse_step": 2,
         "decoder_sparse_step": 2, "router_bias": False, "router_dtype": "float32",
         "router_type": "tokens_masked", "num_selected_experts": 1, "is_gated_act": False,
         "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-06, "dropout_rate": 0.1,
         "router_jitter_noise": 0.01, "router_ignore_padding_tokens": False,
         "add_router_probs": False, "relative_attention_num_buckets": 32,
         "relative_attention_max_distance": 128, "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"relative_attention_max_distance": 40}, {"dense_act_fn": "gelu"},
                 {"layer_norm_epsilon": 0.1}],
    ),
    _switch(
        "capacity",
        "3 places in an expert for each source: some tokens find none",
        {"expert_capacity": 3, "dense_act_fn": "gelu_new"},
        matters=[{"expert_capacity": 4}, {"expert_capacity": 2}, {"dense_act_fn": "relu"}],
    ),
    _switch(
        "untied",
        "a head of its own, heads wider than d_model / num_heads, all layers sparse",
        {"tie_word_embeddings": False, "d_kv": 12, "num_heads": 3, "num_sparse_encoder_layers": 2,
         "num_sparse_decoder_layers": 2, "num_experts": 3},
        dtype="F16", matters=[{"layer_norm_epsilon": 0.1}],
    ),
    _switch(
        "deep",
        "three layers that encode and one that decodes, few places, every n-th layer sparse",
        {"num_layers": 3, "num_decoder_layers": 1, "num_sparse_encoder_layers": 1,
         "num_sparse_decoder_layers": 1, "expert_capacity": 2, "num_experts": 5},
        shard_bytes=40000, matters=[{"expert_capacity": 8}],
    ),
    _switch(
        "bias",
        "biased routers, gelu, 6 experts",
        {"router_bias": True, "dense_act_fn": "gelu", "num_experts": 6, "expert_capacity": 5},
        matters=[{"expert_capacity": 6}, {"dense_act_fn": "relu"}],
    ),
    _switch(
        "buckets",
        "8 kinds of distance up to 20, a source of 80",
        {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20},
        prompts=((3, 30), (80, 8)),
        matters=[{"relative_attention_max_distance": 10}],
    ),
    _switch(
        "defaults",
        "keys left away: as many layers that decode, and no sparse ones but what the rule gives",
        {"num_decoder_layers": None, "num_sparse_encoder_layers": 0, "pad_token_id": DELETE,
         "eos_token_id": DELETE, "is_encoder_decoder": DELETE, "d_ff": 20},
    ),
]

NLLB = [
    _nllb(
        "classic",
        "as released: places for all, experts count 0.8, one sparse layer of two",
        {"moe_eval_capacity_token_fraction": 1.0, "expert_capacity": 64,
         "moe_token_dropout": 0.2, "second_expert_policy": "all", "router_bias": False,
         "batch_prioritized_routing": False, "normalize_router_prob_before_dropping": False,
         "scale_embedding": True, "activation_function": "relu", "router_dtype": "float32",
         "router_ignore_padding_tokens": False, "num_hidden_layers": 2, "dropout": 0.1,
         "attention_dropout": 0.1, "activation_dropout": 0.0, "encoder_layerdrop": 0.0,
         "decoder_layerdrop": 0.0, "init_std": 0.02, "router_z_loss_coef": 0.001,
         "router_aux_loss_coef": 0.001, "tie_word_embeddings": True},
        dtype="BF16",
        matters=[{"moe_token_dropout": 0.0}, {"scale_embedding": False},
                 {"activation_function": "gelu"}, {"moe_eval_capacity_token_fraction": 0.2},
                 {"pad_token_id": 3}],
    ),
    _nllb(
        "priority",
        "places for a third of the source; who is surest of an expert comes first",
        {"moe_eval_capacity_token_fraction": 0.3, "batch_prioritized_routing": True},
        matters=[{"batch_prioritized_routing": False}, {"moe_eval_capacity_token_fraction": 0.4},
                 {"normalize_router_prob_before_dropping": True}],
    ),
    _nllb(
        "before",
        "weights add up to 1 before tokens lose experts; no dropout",
        {"moe_eval_capacity_token_fraction": 0.25, "moe_token_dropout": 0.0,
         "normalize_router_prob_before_dropping": True, "activation_function": "gelu"},
        matters=[{"normalize_router_prob_before_dropping": False}, {"moe_token_dropout": 0.1}],
    ),
    _nllb(
        "random",
        "a second expert by chance",
        {"second_expert_policy": "random", "num_experts": 5},
        matters=[{"second_expert_policy": "all"}, {"second_expert_policy": "sampling"}],
    ),
    _nllb(
        "sampling",
        "the best second expert after a random draw, weights that add up before",
        {"second_expert_policy": "sampling", "normalize_router_prob_before_dropping": True,
         "moe_eval_capacity_token_fraction": 0.5},
        matters=[{"second_expert_policy": "all"}, {"second_expert_policy": "random"}],
    ),
    _nllb(
        "fixed",
        "a fixed number of places, biased routers, stacks of different shapes, plain embeddings",
        {"moe_eval_capacity_token_fraction": -1.0, "expert_capacity": 6, "router_bias": True,
         "encoder_attention_heads": 2, "decoder_attention_heads": 8, "encoder_ffn_dim": 20,
         "decoder_ffn_dim": 36, "encoder_layers": 3, "encoder_sparse_step": 3,
         "scale_embedding": False, "num_experts": 6},
        dtype="F16", shard_bytes=60000,
        matters=[{"expert_capacity": 5}, {"scale_embedding": True}],
    ),
    _nllb(
        "untied",
        "a head of its own, all layers that encode sparse, none that decodes",
        {"tie_word_embeddings": False, "encoder_sparse_step": 1, "decoder_sparse_step": 0,
         "decoder_layers": 1, "num_experts": 3},
        matters=[{"moe_token_dropout": 0.5}],
    ),
]

SEQ2SEQ_VARIANTS = [*SWITCH, *NLLB]
