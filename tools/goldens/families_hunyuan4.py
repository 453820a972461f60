# SPDX-License-Identifier: Apache-2.0
"""Hunyuan 4: sparse latent attention with sinks and gates, streams that do not read each other."""

import re

from transformers import AutoModelForCausalLM
from transformers.models.hy_v4.modeling_hy_v4 import HYV4Indexer
from transformers.models.hy_v4_vl import configuration_hy_v4_vl, modeling_hy_v4_vl

from .families_latent import latent_draw
from .families_sparse import watch_indexers
from .family import Family, biased_choices, is_of_text, text_of

# Transformers has Hy4 with pictures for pictures and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_hy_v4_vl.HYV4VLConfig: modeling_hy_v4_vl.HYV4VLForConditionalGeneration,
}

watch_indexers("index_topk", HYV4Indexer, modeling_hy_v4_vl.HYV4VLIndexer)

# The authors' names, in the order in which they replace those of Transformers.
_AUTHORS = [
    (r"\.self_attn\.gate_proj\.", ".self_attn.linear_gate."),
    (r"\.sinks$", ".learnable_sink_param"),
    (r"\.attn_hc\.", ".hc_attn_layer.hc_pre.hc_"), (r"\.ffn_hc\.", ".hc_mlp_layer.hc_pre.hc_"),
    (r"\.hc_head\.hc_", ".hc_head.hc_head_"),
]
# What save_pretrained of Transformers makes of the names that it has.
_SAVED = [
    (r"\.gate_proj\.", ".linear_gate."), (r"\.sinks$", ".learnable_sink_param"),
    (r"\.attn_hc\.", ".hc_pre.hc_attn_layer.hc_"), (r"\.ffn_hc\.", ".hc_pre.hc_mlp_layer.hc_"),
    (r"\.hc_head\.hc_", ".hc_pre.hc_head.hc_head_"),
]


def _released(weights, config):
    """As published, experts in one tensor, or, where Transformers has left its version in
    config.json, as it writes it. With a tensor of a layer that predicts a second token: not read.
    """
    saved = "transformers_version" in config
    tensors = {}
    for name, tensor in weights.items():
        for pattern, replacement in _SAVED if saved else _AUTHORS:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    if config.get("num_nextn_predict_layers"):
        tensors["model.mtp_layers.0.final_layernorm.weight"] = -weights["model.norm.weight"]
    return tensors


# The same of the model with pictures, which turns the names of its head around in another way.
_SAVED_PICTURES = [(pattern, replacement.replace(".hc_pre.hc_head.", ".hc_head.hc_pre."))
                   for pattern, replacement in _SAVED]


def _released_pictures(weights, config):
    """As `_released`, with one tensor of what looks at pictures, which is not read."""
    saved = "transformers_version" in config
    tensors = {"vit.perceive.image_newline": weights["model.vision_tower.patch_merger.image_newline"]}
    for name, tensor in weights.items():
        if not is_of_text(name):
            continue
        name = name.replace("model.language_model.", "model.")
        for pattern, replacement in _SAVED_PICTURES if saved else _AUTHORS:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    return tensors


def _indexers(model):
    return [layer.self_attn.indexer for layer in text_of(model).layers
            if layer.self_attn.indexer is not None]


def _draw(name, noise, config):
    if name.endswith(("_hc.scale", "hc_scale")):
        return 1.0 + 0.25 * noise
    if name.endswith(("_hc.base", "hc_base")):
        return 0.8 * noise
    if name.endswith(("_hc.fn", "hc_fn")):
        return 1.2 / noise.shape[-1] ** 0.5 * noise
    return latent_draw(name, noise, config)


HUNYUAN4 = {
    "hy_v4": Family("HYV4ForCausalLM", released=_released, choices=biased_choices, draw=_draw,
                    choosers=_indexers),
    "hy_v4_vl": Family("HYV4VLForConditionalGeneration", released=_released_pictures,
                       choices=biased_choices, draw=_draw, choosers=_indexers),
}
