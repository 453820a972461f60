# SPDX-License-Identifier: Apache-2.0
"""DeepSeek-V4: compressed attention, residuals of several streams, experts by a table of tokens."""

import re

import torch
from transformers.models.deepseek_v4.modeling_deepseek_v4 import (
    DeepseekV4Indexer, DeepseekV4RMSNorm)

from .families_sparse import watch_indexers
from .family import Choices, Family, by_key, no_rope, per_expert

watch_indexers("index_topk", DeepseekV4Indexer)

# Norms keep float32 weights in bfloat16, too, and what they give is meant to be in the type of what
# they get; that Transformers 5.17 leaves it in float32 fails at the next product.
_normalise = DeepseekV4RMSNorm.forward
DeepseekV4RMSNorm.forward = lambda self, x: _normalise(self, x).to(x.dtype)

# The authors' names, in the order in which they replace those of Transformers.
_AUTHORS = [
    (r"^model\.", ""), (r"^embed_tokens\.", "embed."), (r"^lm_head\.", "head."),
    (r"^hc_head\.hc_", "hc_head_"), (r"\.(attn|ffn)_hc\.", r".hc_\1_"),
    (r"\.self_attn\.", ".attn."), (r"\.mlp\.", ".ffn."),
    (r"\.input_layernorm\.", ".attn_norm."), (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.compressor\.indexer\.scorer\.", ".indexer."),
    (r"\.compressor\.indexer\.q_b_proj\.", ".indexer.wq_b."),
    (r"\.compressor\.indexer\.", ".indexer.compressor."),
    (r"compressor\.kv_norm\.", "compressor.norm."), (r"compressor\.gate_proj\.", "compressor.wgate."),
    (r"\.position_bias$", ".ape"), (r"\.attn\.q_a_norm\.", ".attn.q_norm."),
    (r"\.(q_a|q_b|o_a|o_b|kv)_proj\.", r".w\1."), (r"\.sinks$", ".attn_sink"),
    (r"\.gate\.e_score_correction_bias$", ".gate.bias"),
    (r"\.shared_experts\.gate_proj\.", ".shared_experts.w1."),
    (r"\.shared_experts\.down_proj\.", ".shared_experts.w2."),
    (r"\.shared_experts\.up_proj\.", ".shared_experts.w3."),
]


def _authors_name(name):
    for pattern, replacement in _AUTHORS:
        name = re.sub(pattern, replacement, name)
    return name


def _released(weights, config):
    """Where config.json has a layer for multi-token prediction with a tensor of it: not read."""
    tensors = per_expert(("w1", "w3", "w2"), _authors_name)(weights, config)
    if not config.get("num_nextn_predict_layers"):
        return tensors
    return tensors | {"mtp.0.norm.weight": torch.ones_like(tensors["norm.weight"])}


def _choices(module, inputs, output):
    logits, weights, chosen = output
    if hasattr(module, "tid2eid"):  # slots are in the order of the table
        keys = torch.arange(chosen.shape[-1], 0, -1, dtype=torch.float32).expand(chosen.shape)
        return Choices(torch.zeros_like(logits).scatter(-1, chosen, keys), chosen, weights)
    return by_key(module.score_fn(logits) + module.e_score_correction_bias, chosen, weights)


def _indexers(model):
    compressors = [layer.self_attn.compressor for layer in model.model.layers]
    return [compressor.indexer for compressor in compressors if hasattr(compressor, "indexer")]


def _draw(name, noise, config):
    if name.endswith("tid2eid"):  # neighbours, from the first on, in one direction
        experts = config["n_routed_experts"]
        first = (noise[:, :1].abs() * 1000).long()
        step = torch.where(noise[:, -1:] < 0, experts - 1, 1)
        return (first + step * torch.arange(noise.shape[1])) % experts
    if name.endswith(("_hc.scale", "hc_scale")):
        return 1.0 + 0.25 * noise
    if name.endswith(("_hc.base", "hc_base")):
        return 0.8 * noise
    if name.endswith(("_hc.fn", "hc_fn")):
        return 1.2 / noise.shape[-1] ** 0.5 * noise
    if name.endswith("position_bias"):
        return noise
    if name.endswith(("q_b_proj.weight", "compressor.gate_proj.weight", "indexer.gate_proj.weight")):
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    return None


COMPRESSED = {
    "deepseek_v4": Family("DeepseekV4ForCausalLM", released=_released, choices=_choices,
                          rope=no_rope, choosers=_indexers, draw=_draw),
}
