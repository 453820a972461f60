# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Lara-4 Mini.

Other heads of linear attention that fit the same tensors are among the changes that must matter.
"""

from .variant import BASE, DELETE, variants_of

_LINEAR, _SLIDING, _FULL = "linear_attention", "sliding_attention", "full_attention"

_lara = variants_of("lara_mini", BASE | {
    "head_dim": 12, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "num_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 10,
    "sliding_window": 8, "num_hidden_layers": 3, "layer_types": [_LINEAR, _SLIDING, _FULL],
})


def _plain(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


LARA = [
    _lara(
        "classic",
        "as released: five layers of all three kinds, a tied head, bfloat16, sharded",
        {"num_hidden_layers": 5, "layer_types": [_LINEAR, _SLIDING, _LINEAR, _FULL, _SLIDING],
         "linear_conv_kernel_dim": 4, "norm_topk_prob": True, "attention_bias": False,
         "hidden_act": "silu", "rms_norm_eps": 1e-06, "router_aux_loss_coef": 0.001,
         "output_router_logits": False, "tie_word_embeddings": True, "dtype": "bfloat16",
         **_plain(10000.0)},
        dtype="BF16", shard_bytes=60000, prompts=(1, 7, 8, 40),
        matters=[{"num_experts_per_tok": 3}, {"sliding_window": 9}, {"norm_topk_prob": False},
                 {"layer_types": [_LINEAR, _SLIDING, _LINEAR, _FULL, _FULL]}, _plain(100.0),
                 {"rms_norm_eps": 0.1}, {"linear_num_key_heads": 4, "linear_key_head_dim": 4}],
    ),
    _lara(
        "defaults",
        "what can be left to its default: kinds by the pattern of the released model, tied, eight "
        "key heads and 16 value heads, a window of 512",
        {"num_hidden_layers": 4, "layer_types": DELETE, "sliding_window": DELETE,
         "linear_num_key_heads": DELETE, "linear_num_value_heads": DELETE,
         "linear_key_head_dim": 3, "linear_value_head_dim": 5, "num_experts": 4},
        dtype="BF16",
        matters=[{"sliding_window": 4}, {"norm_topk_prob": False}, {"rope_theta": 10.0}],
    ),
    _lara(
        "pattern",
        "the pattern twice, up to its second layer, with windows of 6; biases, a head of its own; "
        "float16",
        {"num_hidden_layers": 7, "layer_types": None, "sliding_window": 6, "attention_bias": True,
         "tie_word_embeddings": False, "num_experts": 4, "moe_intermediate_size": 6,
         "rope_theta": 500.0},
        dtype="F16", prompts=(1, 6, 7, 40),
        matters=[{"sliding_window": 7}, {"rope_theta": 50.0}, {"num_experts_per_tok": 1}],
    ),
    _lara(
        "odd",
        "heads of widths that no vector has, three value heads to a key head, kernel 3, weights of "
        "experts as they are, a linear layer last, prompts beyond a chunk of the parallel form",
        {"layer_types": [_SLIDING, _FULL, _LINEAR], "linear_num_value_heads": 6,
         "linear_key_head_dim": 5, "linear_value_head_dim": 19, "linear_conv_kernel_dim": 3,
         "norm_topk_prob": False, "num_key_value_heads": 4, "tie_word_embeddings": False},
        prompts=(1, 2, 3, 70, 140),
        matters=[{"norm_topk_prob": True}, {"sliding_window": 9}],
    ),
    _lara(
        "wide",
        "one key head for both value heads, of 80 numbers each, one head of keys, all of 4 experts; "
        "gelu also behind the convolution",
        {"linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 24,
         "linear_value_head_dim": 80, "num_key_value_heads": 1, "num_experts": 4,
         "num_experts_per_tok": 4, "hidden_act": "gelu", "layer_types": [_FULL, _LINEAR, _LINEAR]},
        dtype="BF16", prompts=(1, 7, 100),
        matters=[{"hidden_act": "silu"}, {"linear_num_key_heads": 2, "linear_key_head_dim": 12},
                 {"layer_types": [_SLIDING, _LINEAR, _LINEAR]}],
    ),
    _lara(
        "pointwise",
        "a convolution that sees one row only, linear rotations, top 1, an eps that counts; float16, "
        "sharded",
        {"linear_conv_kernel_dim": 1, "linear_num_key_heads": 4, "num_experts_per_tok": 1,
         "rms_norm_eps": 0.01, "layer_types": [_SLIDING, _LINEAR, _SLIDING],
         "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}},
        dtype="F16", shard_bytes=40000,
        matters=[_plain(500.0), {"num_experts_per_tok": 2}, {"rms_norm_eps": 1e-06},
                 {"linear_num_key_heads": 2, "linear_key_head_dim": 16}],
    ),
]
