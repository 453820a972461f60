# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Ernie, Hunyuan and DBRX."""

from .variant import BASE, DELETE, Variant, variants_of

_ernie = variants_of("ernie4_5_moe", BASE | {
    "intermediate_size": 20, "moe_intermediate_size": 8, "moe_num_experts": 6,
    "moe_k": 2, "moe_num_shared_experts": 2, "pad_token_id": None
})

ERNIE = [
    _ernie(
        "classic",
        "as released: first layer dense, two shared experts in one MLP, tied, a layer that "
        "predicts further tokens to be skipped, per expert",
        {"num_hidden_layers": 3, "moe_num_experts": 8, "moe_k": 3, "moe_layer_start_index": 1,
         "moe_layer_end_index": 2, "moe_layer_interval": 1, "moe_gate": "topk",
         "moe_use_aux_free": True, "moe_capacity": [8, 8, 8], "num_nextn_predict_layers": 1,
         "tie_word_embeddings": True, "rope_theta": 500000.0, "rms_norm_eps": 1e-05,
         "use_bias": False, "hidden_act": "silu", "use_cache": False},
        dtype="BF16",
        matters=[{"moe_k": 2}, {"rope_theta": 100.0}, {"rms_norm_eps": 0.1},
                 {"moe_norm_min": 0.9}],
    ),
    _ernie(
        "defaults",
        "what can be left to its default, also the tied head and rope_theta; packed experts",
        {"intermediate_size": 24},
        dtype="BF16", packed=True,
        matters=[{"rope_theta": 10000.0}, {"moe_norm_min": 0.9}],
    ),
    _ernie(
        "interval",
        "experts in layer 3 alone of five: interval 2 from 2 to 3; own head, multi-query, "
        "a head of 12, sharded",
        {"num_hidden_layers": 5, "moe_layer_start_index": 2, "moe_layer_end_index": 3,
         "moe_layer_interval": 2, "tie_word_embeddings": False, "num_key_value_heads": 1,
         "num_attention_heads": 2, "head_dim": 12, "intermediate_size": 12},
        dtype="BF16", shard_bytes=20000,
        matters=[{"moe_k": 1}, {"rope_theta": 100.0}],
    ),
    _ernie(
        "norm-min",
        "weights divided by at least 0.6, no shared experts, gelu, top 1",
        {"moe_num_shared_experts": 0, "moe_norm_min": 0.6, "moe_k": 1, "hidden_act": "gelu",
         "moe_layer_start_index": 0, "tie_word_embeddings": False, "moe_intermediate_size": 16},
        dtype="BF16",
        matters=[{"moe_norm_min": 1e-12}, {"hidden_act": "silu"}, {"moe_k": 2}],
    ),
    _ernie(
        "bias",
        "biases of attention, of the dense and the shared MLPs and of the head, float16",
        {"num_hidden_layers": 3, "use_bias": True, "moe_num_shared_experts": 1,
         "tie_word_embeddings": False, "moe_layer_start_index": 1},
        dtype="F16",
        matters=[{"moe_k": 3}, {"moe_norm_min": 0.9}],
    ),
    _ernie(
        "yarn",
        "yarn over interleaved pairs, two heads of 16, multi-head, packed and sharded",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "moe_num_shared_experts": 1,
         "max_position_embeddings": 128,
         "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                             "original_max_position_embeddings": 32}},
        dtype="BF16", packed=True, shard_bytes=20000, prompts=(1, 7, 60),
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
                 {"moe_k": 1}],
    ),
]

_hunyuan = variants_of("hunyuan_v1_moe", BASE | {
    "head_dim": 8, "intermediate_size": 8, "num_experts": 6, "moe_topk": 2,
    "pad_token_id": None
})


def _alpha(alpha):
    return {"type": "dynamic", "alpha": alpha, "factor": 1.0, "beta_fast": 32, "beta_slow": 1,
            "mscale": 1.0, "mscale_all_dim": 1.0}


HUNYUAN = [
    _hunyuan(
        "classic",
        "as released: norms of q and k after rope, dynamic rope with alpha, lists with an entry "
        "for each layer, keys of other models switched off, tied",
        {"num_experts": 8, "moe_topk": [3, 3], "moe_intermediate_size": [8, 8],
         "num_shared_expert": [1, 1], "use_mixed_mlp_moe": True, "use_qk_norm": True,
         "norm_topk_prob": True, "use_cla": False, "cla_share_factor": 2,
         "moe_layer_num_skipped": 0, "mlp_bias": False, "norm_type": "rms",
         "routed_scaling_factor": False, "n_group": False, "topk_group": False,
         "group_limited_greedy": False, "moe_drop_tokens": False, "use_rotary_pos_emb": True,
         "attention_head_dim": 8, "attention_bias": False, "rope_theta": 10000.0,
         "rope_scaling": _alpha(1000.0), "tie_word_embeddings": True, "rms_norm_eps": 1e-05},
        dtype="BF16",
        matters=[{"moe_topk": [2, 2]}, {"rope_scaling": None}, {"rope_scaling": _alpha(10.0)},
                 {"rms_norm_eps": 0.1}, {"rope_theta": 100.0}],
    ),
    _hunyuan(
        "packed",
        "packed experts, multi-head because num_key_value_heads is null, no rope keys",
        {"num_key_value_heads": None},
        dtype="BF16", packed=True,
        matters=[{"rope_theta": 100.0}, {"moe_topk": 3}],
    ),
    _hunyuan(
        "bias",
        "biases of attention, multi-query, a head of 12, gelu, top 1, own head, sharded",
        {"attention_bias": True, "num_key_value_heads": 1, "head_dim": 12, "hidden_act": "gelu",
         "moe_topk": 1, "tie_word_embeddings": False, "num_hidden_layers": 3,
         "num_attention_heads": 2},
        dtype="BF16", shard_bytes=20000,
        matters=[{"hidden_act": "silu"}, {"moe_topk": 2}],
    ),
    _hunyuan(
        "topk-list",
        "top 1, 3 and 2 of 5 in three layers, num_local_experts, float16",
        {"num_hidden_layers": 3, "moe_topk": [1, 3, 2], "num_experts": DELETE,
         "num_local_experts": 5, "tie_word_embeddings": True},
        dtype="F16",
        matters=[{"moe_topk": 2}, {"moe_topk": [1, 2, 3]}],
    ),
    _hunyuan(
        "linear",
        "linear rope with an alpha that does not count, num_experts_per_tok, packed and sharded",
        {"moe_topk": DELETE, "num_experts_per_tok": 3,
         "rope_scaling": {"type": "linear", "factor": 2.5, "alpha": 1000.0}},
        dtype="BF16", packed=True, shard_bytes=15000,
        matters=[{"rope_scaling": None}, {"num_experts_per_tok": 2}],
    ),
    _hunyuan(
        "dynamic",
        "dynamic NTK without alpha, prompts longer than the context of 32, two heads of 16",
        {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
         "max_position_embeddings": 32,
         "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}},
        dtype="BF16", prompts=(1, 7, 32, 33, 60), greedy_prompt=24,
        matters=[{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}],
    ),
    _hunyuan(
        "alpha",
        "alpha 40, own head, all positions inside the context of 64",
        {"tie_word_embeddings": False, "max_position_embeddings": 64, "rope_theta": 100.0,
         "rope_scaling": _alpha(40.0)},
        dtype="BF16", prompts=(1, 7, 48),
        matters=[{"rope_scaling": None}, {"rope_scaling": _alpha(10.0)}],
    ),
]


_DBRX_ATTENTION = {"clip_qkv": 8, "kv_n_heads": 2, "rope_theta": 500000.0}
_DBRX_FFN = {"ffn_hidden_size": 8, "moe_num_experts": 6, "moe_top_k": 2}


def _dbrx(name, description, config, attention=None, ffn=None, **kwargs):
    """DBRX has its keys in two objects. Transformers reads rope_theta at the top and only there,
    the authors in attn_config: both places say the same here."""
    attention = _DBRX_ATTENTION | (attention or {})
    base = {"vocab_size": 96, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256,
            "bos_token_id": None, "eos_token_id": None, "rope_theta": attention["rope_theta"],
            "attn_config": attention, "ffn_config": _DBRX_FFN | (ffn or {})}
    return Variant(f"dbrx-{name}", "dbrx", description, base | config, packed=True, **kwargs)


DBRX = [
    _dbrx(
        "classic",
        "as released: clip_qkv 8, top 4 of 8, grouped-query, keys of training, heads also outside",
        {"resid_pdrop": 0.0, "emb_pdrop": 0.0, "output_router_logits": False,
         "num_key_value_heads": 2, "router_aux_loss_coef": 0.05, "tie_word_embeddings": False, "use_cache": True},
        attention={"model_type": ""},
        ffn={"model_type": "", "moe_num_experts": 8, "moe_top_k": 4, "moe_jitter_eps": 0.01,
             "moe_loss_weight": 0.05},
        dtype="BF16",
        matters=[{"rope_theta": 100.0}, {"attn_config": _DBRX_ATTENTION | {"clip_qkv": 1.0}},
                 {"ffn_config": _DBRX_FFN | {"moe_num_experts": 8, "moe_top_k": 2}}],
    ),
    _dbrx(
        "clip",
        "clip_qkv 0.8, multi-query, no normalisation of the weights, sharded",
        {},
        attention={"clip_qkv": 0.8, "kv_n_heads": 1, "rope_theta": 10000.0},
        ffn={"moe_normalize_expert_weights": None},
        dtype="BF16", shard_bytes=20000,
        matters=[{"attn_config": _DBRX_ATTENTION | {"clip_qkv": 1.0, "kv_n_heads": 1}},
                 {"ffn_config": _DBRX_FFN}],
    ),
    _dbrx(
        "top-1",
        "top 1 of 4 whose weight is normalised to 1, three layers, kv_n_heads and others left to "
        "their defaults",
        {"n_layers": 3, "attn_config": {"clip_qkv": 2.5, "rope_theta": 10000.0},
         "rope_theta": DELETE,
         "ffn_config": {"ffn_hidden_size": 8, "moe_normalize_expert_weights": 1.0}},
        dtype="F16",
        matters=[{"rope_theta": 100.0},
                 {"ffn_config": {"ffn_hidden_size": 8, "moe_normalize_expert_weights": None}}],
    ),
    _dbrx(
        "gelu",
        "gelu by ffn_act_fn, multi-head, experts wider than usual, top 3",
        {},
        attention={"kv_n_heads": 4, "rope_theta": 1000.0},
        ffn={"ffn_act_fn": {"name": "gelu"}, "ffn_hidden_size": 12, "moe_top_k": 3},
        dtype="BF16",
        matters=[{"ffn_config": _DBRX_FFN | {"ffn_hidden_size": 12, "moe_top_k": 3}},
                 {"rope_theta": 10.0}],
    ),
    _dbrx(
        "aliases",
        "numbers by the names of other families, two heads of 16, sharded",
        {"n_heads": DELETE, "n_layers": DELETE, "max_seq_len": DELETE, "num_attention_heads": 2,
         "num_hidden_layers": 2, "max_position_embeddings": 256},
        attention={"kv_n_heads": 1, "rope_theta": 10000.0, "clip_qkv": 1.5},
        dtype="BF16", shard_bytes=15000,
        matters=[{"rope_theta": 100.0},
                 {"attn_config": _DBRX_ATTENTION | {"kv_n_heads": 1, "clip_qkv": 8}}],
    ),
    _dbrx(
        "linear",
        "linear rope, all four experts chosen, float32",
        {"d_model": 24, "n_heads": 3, "rope_scaling": {"rope_type": "linear", "factor": 2.5}},
        attention={"kv_n_heads": 3, "rope_theta": 10000.0, "clip_qkv": 6},
        ffn={"ffn_hidden_size": 6, "moe_num_experts": 4, "moe_top_k": 4},
        matters=[{"rope_scaling": None},
                 {"ffn_config": _DBRX_FFN | {"ffn_hidden_size": 6, "moe_num_experts": 4,
                                             "moe_top_k": 3}}],
    ),
]

OTHER = [*ERNIE, *HUNYUAN, *DBRX]
