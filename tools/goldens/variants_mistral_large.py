# SPDX-License-Identifier: Apache-2.0
"""The golden variants of Mistral Large 4, whose text model stands below text_config."""

from .variant import BASE, DELETE, Variant
from .variants_latent import MLA, MOE, yarn

_TEXT = {key: value for key, value in (BASE | MLA | MOE).items() if key != "q_lora_rank"} | {
    "model_type": "mistral_large4_text", "num_hidden_layers": 4, "first_k_dense_replace": 1,
    "index_topk": 8, "index_n_heads": 12, "index_head_dim": 12, "pad_token_id": None,
}
_PIXTRAL = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "image_size": 8,
            "num_attention_heads": 2, "num_hidden_layers": 1, "patch_size": 2, "head_dim": 8}


def _types(pattern):
    return [{"F": "full", "S": "shared"}[letter] for letter in pattern]


def _rope(kind, theta, **other):
    return {"rope_type": kind, "rope_theta": theta, **other}


def _large(name, description, changes, outer=None, **kwargs):
    """`matters` names changes of the text model."""
    text = {key: value for key, value in (_TEXT | changes).items() if value != DELETE}
    config = {"text_config": text, "vision_config": _PIXTRAL, "image_token_index": 196,
              "projector_hidden_act": "gelu", "multimodal_projector_bias": False,
              "spatial_merge_size": 2, "vision_feature_layer": -1, "tie_word_embeddings": False}
    kwargs["matters"] = [{"text_config": text | change} for change in kwargs["matters"]]
    return Variant(f"mistral_large4-{name}", "mistral_large4", description,
                   config | (outer or {}), **kwargs)


MISTRAL_LARGE = [
    _large(
        "classic",
        "as released: Mistral's names, one dense layer, every fourth layer without rotation, yarn "
        "over 512 tokens by default; bfloat16, sharded",
        {"n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0, "attention_bias": False,
         "head_dim": 8, "qk_head_dim": 20, "rms_norm_eps": 1e-05, "num_nextn_predict_layers": 1,
         "final_logit_softcapping": 30.0, "moe_intermediate_size": 6},
        dtype="BF16", shard_bytes=40000, prompts=(1, 7, 8, 9, 40),
        matters=[{"index_topk": 64}, {"index_topk": 9}, {"routed_scaling_factor": 2.0},
                 {"num_experts_per_tok": 2}, {"final_logit_softcapping": 5.0},
                 {"rope_parameters": _rope("default", 100.0)}, {"rms_norm_eps": 0.1}],
    ),
    _large(
        "lent",
        "layers of both kinds read the latents of earlier ones, some with an indexer of their own; "
        "five dense layers",
        {"num_hidden_layers": 7, "hidden_size": 24, "first_k_dense_replace": 5,
         "no_rope_layers": [1, 1, 0, 1, 0, 1, 1], "kv_source_layers": [0, 1, 2, 1, 2, 5, 5],
         "indexer_types": _types("FSFSFFS"), "moe_intermediate_size": 4,
         "n_routed_experts": 4, "num_experts_per_tok": 2,
         "rope_parameters": _rope("default", 1000.0)},
        prompts=(1, 7, 12, 50),
        matters=[{"index_topk": 64}, {"index_topk": 3},
                 {"rope_parameters": _rope("default", 50.0)}],
    ),
    _large(
        "modules",
        "names of Transformers' modules, packed; biases, one of two groups, two shared experts, "
        "every second layer without rotation, heads wider than indexers' keys; float16",
        {"attention_bias": True, "n_group": 2, "topk_group": 1, "n_shared_experts": 2,
         "num_experts_per_tok": 2, "no_rope_layer_interval": 2, "num_hidden_layers": 3,
         "routed_scaling_factor": 2.5, "index_head_dim": 8, "index_topk": 5,
         "rope_parameters": _rope("linear", 500.0, factor=4.0)},
        dtype="F16", packed=True,
        matters=[{"index_topk": 64}, {"topk_group": 2}, {"routed_scaling_factor": 1.0},
                 {"rope_parameters": _rope("default", 500.0)}],
    ),
    _large(
        "pattern",
        "letters say who chooses keys, and lists which layers have experts; tied, gelu, three "
        "heads, values wider than keys, thirteen index heads, a low cap of logits",
        {"first_k_dense_replace": DELETE, "mlp_layer_types": ["sparse", "dense", "sparse"] + [
            "sparse"], "index_topk_pattern": "FSSF", "layer_types": ["indexed_attention"] * 4,
         "tie_word_embeddings": True, "hidden_act": "gelu", "num_attention_heads": 3,
         "num_key_value_heads": 3, "v_head_dim": 24, "index_n_heads": 13,
         "final_logit_softcapping": 4.0, "n_routed_experts": 4, "num_experts_per_tok": 2,
         "moe_intermediate_size": 4},
        {"tie_word_embeddings": True},
        matters=[{"index_topk": 64}, {"hidden_act": "silu"}, {"final_logit_softcapping": 30.0}],
    ),
    _large(
        "frequency",
        "every second layer behind an offset chooses keys; yarn with mscales that differ, whose "
        "scale counts; all layers rotate, and the first one lends to all; five experts",
        {"index_topk_freq": 2, "index_skip_topk_offset": 1, "no_rope_layers": [1, 1, 1, 1],
         "kv_source_layers": [0, 0, 0, 0], "first_k_dense_replace": 2, "index_topk": 16,
         "n_routed_experts": 5, "num_local_experts": 5,
         "rope_parameters": yarn(8.0, rope_theta=500.0, mscale=0.6, mscale_all_dim=1.3)},
        dtype="BF16", prompts=(1, 7, 40, 90),
        matters=[{"index_topk": 100}, {"num_experts_per_tok": 2},
                 {"rope_parameters": yarn(8.0, rope_theta=500.0, mscale=1.3,
                                          mscale_all_dim=1.3)}],
    ),
    _large(
        "plain",
        "no layer rotates, and the last reads the first's latents; one head, one key is seen",
        {"no_rope_layers": [0, 0, 0], "num_hidden_layers": 3, "kv_source_layers": [0, 1, 0],
         "num_attention_heads": 1, "num_key_value_heads": 1, "index_topk": 1,
         "n_routed_experts": 4, "num_experts_per_tok": 1, "n_shared_experts": 0},
        dtype="BF16", shard_bytes=20000,
        matters=[{"index_topk": 2}, {"num_experts_per_tok": 2}],
    ),
    _large(
        "defaults",
        "index_topk, dense layers, groups, rotations and cap by default: all keys are seen",
        {"index_topk": DELETE, "first_k_dense_replace": DELETE, "num_attention_heads": 4,
         "num_key_value_heads": 4, "n_routed_experts": 16, "moe_intermediate_size": 4,
         "num_hidden_layers": 5},
        dtype="F16", prompts=(1, 7, 40),
        matters=[{"index_topk": 8}, {"routed_scaling_factor": 2.0},
                 {"final_logit_softcapping": 6.0}],
    ),
]
