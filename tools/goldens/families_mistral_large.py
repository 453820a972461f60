# SPDX-License-Identifier: Apache-2.0
"""Mistral Large 4: published files have names of Mistral's own, and one tensor per expert."""

from transformers import AutoModelForCausalLM
from transformers.models.mistral_large4 import (configuration_mistral_large4,
                                                modeling_mistral_large4)

from .families_2026 import _mistral_choices
from .families_latent import latent_draw
from .families_sparse import watch_indexers
from .family import Family, is_of_text, per_expert

# Transformers has it for pictures and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_mistral_large4.MistralLarge4Config:
        modeling_mistral_large4.MistralLarge4ForConditionalGeneration,
}

watch_indexers("index_topk", modeling_mistral_large4.MistralLarge4TextIndexer)

# Published names of what is beside the text: a tensor of each part is enough.
_BESIDE = {
    "model.vision_tower.ln_pre.weight": "vision_encoder.ln_pre.weight",
    "model.multi_modal_projector.norm.weight": "pre_mm_projector_norm.weight",
    "model.multi_modal_projector.patch_merger.merging_layer.weight":
        "patch_merger.merging_layer.weight",
}
# In this order.
_PARTS = {
    "model.language_model.": "", "lm_head.": "output.", "embed_tokens.": "tok_embeddings.",
    "rotary_emb.": "lerope.", "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.": "attention.",
    "attention.q_proj": "attention.wq", "kv_a_proj_with_mqa": "wkv_a_with_mqa",
    "kv_a_layernorm": "kv_a_norm", "kv_b_proj": "wkv_b", "o_proj": "wo",
    "softmax_scaling.scale": "ssmax_scaling.s", "softmax_scaling.bias": "ssmax_scaling.b",
    "mlp.gate.": "gate.", "mlp.experts.": "experts.", "mlp.shared_experts.": "shared_experts.",
    "mlp.": "feed_forward.",
}
_PROJECTIONS = {".gate_proj.": ".w1.", ".up_proj.": ".w3.", ".down_proj.": ".w2."}


def _published(name):
    for old, new in (_PARTS | _PROJECTIONS).items():
        name = name.replace(old, new)
    return name


def _released(weights, config):
    """As published, with a tensor each of the parts for pictures and of what predicts tokens."""
    text = {name: tensor for name, tensor in weights.items()
            if is_of_text(name) and tensor.numel()}  # a shared expert may have no width
    tensors = per_expert(("w1", "w3", "w2"), _published)(text, config)
    tensors |= {new: weights[old] for old, new in _BESIDE.items()}
    return tensors | {"mtp_dspark.norm.weight": -weights["model.language_model.norm.weight"]}


def _indexers(model):
    return [layer.self_attn.indexer for layer in model.model.language_model.layers
            if layer.self_attn.indexer is not None]


def _draw(name, noise, config):
    if name.endswith("rotary_emb.alpha"):
        return 0.4 * noise
    if name.endswith("softmax_scaling.scale"):
        return 0.25 + 0.1 * noise
    if name.endswith("softmax_scaling.bias"):
        return 0.7 + 0.2 * noise
    return latent_draw(name, noise, config)


MISTRAL_LARGE = {
    "mistral_large4": Family(
        "MistralLarge4ForConditionalGeneration", released=_released,
        choices=_mistral_choices, choosers=_indexers, draw=_draw),
}
