# SPDX-License-Identifier: Apache-2.0
"""GLM-5.3-Flash: Kimi's linear attention, latent attention that sees pools of keys, streams."""

import re

from transformers import AutoModelForCausalLM
from transformers.models.glm5_next import configuration_glm5_next, modeling_glm5_next
from transformers.models.glm5_next.modeling_glm5_next import Glm5NextTextIndexer

from .families_latent import latent_draw
from .families_sparse import watch_indexers
from .family import Family, biased_choices, no_rope, per_expert, text_of

# Transformers has it for pictures and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_glm5_next.Glm5NextConfig: modeling_glm5_next.Glm5NextForConditionalGeneration,
}

Glm5NextTextIndexer.chosen_pools = property(lambda self: self.index_topk // self.index_kpool)
watch_indexers("chosen_pools", Glm5NextTextIndexer)


def _authors_name(name):
    name = name.replace(".self_attn.forget_gate.", ".self_attn.")
    return re.sub(r"\.(attn|ffn)_hc\.", r".hc_\1_", name)


def _released(weights, config):
    """As published, where a layer predicts a second token with a tensor of it: not read."""
    tensors = {}
    for name, tensor in per_expert(rename=_authors_name)(weights, config).items():
        if name.endswith(".conv1d.weight"):
            for kind, part in zip("qkv", tensor.chunk(3)):
                tensors[name.replace(".conv1d.", f".{kind}_conv1d.")] = part
        elif tensor.numel():
            tensors[name] = tensor
    text = config["text_config"]
    if text.get("num_nextn_predict_layers"):
        behind = f"model.language_model.layers.{text['num_hidden_layers']}."
        tensors[behind + "shared_head.norm.weight"] = -weights["model.language_model.norm.weight"]
    return tensors


def _indexers(model):
    attention = [layer.self_attn for layer in text_of(model).layers]
    return [mixer.indexer for mixer in attention if getattr(mixer, "indexer", None) is not None]


def _draw(name, noise, config):
    """States last some ten rows; gates of pools decide."""
    if name.endswith("A_log"):
        return 0.5 * noise - 1.0
    if name.endswith("index_kpool_compress_ape"):
        return noise
    if name.endswith("index_kpool_compress_gate"):
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    if name.endswith("_hc.scale"):
        return 1.0 + 0.25 * noise
    if name.endswith("_hc.base"):
        return 0.8 * noise
    if name.endswith("_hc.fn"):
        return 1.2 / noise.shape[-1] ** 0.5 * noise
    return latent_draw(name, noise, config)


GLM5 = {
    "glm5_next": Family("Glm5NextForConditionalGeneration", released=_released,
                        choices=biased_choices, rope=no_rope, draw=_draw, choosers=_indexers),
}
