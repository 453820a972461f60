# SPDX-License-Identifier: Apache-2.0
"""Families whose attention is sparse: indexers choose the keys that a query sees."""

import torch
from transformers import AutoModelForCausalLM
from transformers.models.axk2.modeling_axk2 import AXK2Indexer
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer
from transformers.models.glm_moe_dsa.modeling_glm_moe_dsa import GlmMoeDsaIndexer
from transformers.models.minimax_m3_vl import configuration_minimax_m3_vl, modeling_minimax_m3_vl
from transformers.models.minimax_m3_vl.modeling_minimax_m3_vl import MiniMaxM3VLIndexer

from .families_latent import latent_draw, latent_released
from .family import Family, biased_choices, by_key, groups, per_expert, renamed, unchanged

# Transformers has it for pictures and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_minimax_m3_vl.MiniMaxM3VLConfig:
        modeling_minimax_m3_vl.MiniMaxM3SparseForConditionalGeneration,
}

# Beside the gap that routers need: an index score is a sum of a few products, good to 1e-6.
_CLEARER = 10.0


def margins_of(scores, most):
    """How far the last chosen key of each row is from the first that is not; all seen: infinity.

    Scores are [1, T, keys] or, where each head chooses, [1, heads, T, keys].
    """
    rows = scores.float()
    hidden = rows <= torch.finfo(torch.float32).min / 2
    best = rows.masked_fill(hidden, -torch.inf).sort(-1, descending=True).values
    if best.shape[-1] <= most:
        return torch.full((rows.shape[-2],), torch.inf)
    gaps = best[..., most - 1] - best[..., most]
    gaps = torch.where(best[..., most].isinf(), torch.inf, _CLEARER * gaps)
    return gaps.reshape(-1, rows.shape[-2]).amin(0)


def _watched(forward, most):
    """The forward of an indexer, which adds to its `margins` what its scores say about them.

    `most` is its attribute that says how many keys, or blocks of them, it chooses.
    """
    def watched(self, *arguments, **keywords):
        topk = torch.Tensor.topk

        def watched_topk(scores, k, **other):
            self.margins.append(margins_of(scores, getattr(self, most)))
            return topk(scores, k, **other)

        torch.Tensor.topk = watched_topk
        try:
            return forward(self, *arguments, **keywords)
        finally:
            torch.Tensor.topk = topk
    return watched


def watch_indexers(most, *indexers):
    """Classes whose objects tell what Family.choosers must."""
    for indexer in indexers:
        indexer.margins = []
        indexer.forward = _watched(indexer.forward, most)


watch_indexers("index_topk", AXK2Indexer, DeepseekV32Indexer, GlmMoeDsaIndexer)
watch_indexers("topk_blocks", MiniMaxM3VLIndexer)


def _indexers(model):
    return [layer.self_attn.indexer for layer in model.model.layers
            if layer.self_attn.indexer is not None]


# As published: what Transformers renames.
_AXK2_NAMES = renamed({"layernorm.mlp.fc1.weight": "layernorm.W_down.weight",
                       "layernorm.mlp.fc2.weight": "layernorm.W_up.weight",
                       "self_attn.q_gate_proj.weight": "self_attn.q_b_proj.weight"})


def _axk2_released(weights, config):
    return latent_released(_AXK2_NAMES(weights, config), config)


def _axk2_choices(module, inputs, output):
    """As DeepSeek-V3, without groups or with 0 in those that lose."""
    logits, weights, chosen = output
    keys, margin = logits.sigmoid() + module.e_score_correction_bias, None
    if module.num_group is not None:
        keys, margin = groups(keys, module.num_group, module.topk_group,
                              lambda group: group.topk(2, dim=-1).values.sum(-1))
    return by_key(keys.masked_fill(keys.isneginf(), 0.0), chosen, weights, margin)


def _axk2_draw(name, noise, config):
    if ".mlp.fc" in name:  # of a norm
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    return latent_draw(name.replace("q_gate_proj", "q_b_proj"), noise, config)


def _minimax_choices(module, inputs, output):
    """Weights are scaled behind the router, by what _minimax_routers_of leaves there."""
    logits, weights, chosen = output
    return by_key(logits.sigmoid() + module.e_score_correction_bias, chosen,
                  weights * module.scaling)


def _minimax_draw(name, noise, config):
    """Norms multiply by 1 + weight."""
    return 0.25 * noise if "norm" in name else None


def _minimax_released(weights, config):
    """As published, the part for pictures included."""
    names = {".mlp.": ".block_sparse_moe.", ".gate.e_score": ".e_score",
             ".self_attn.indexer.": ".self_attn.index_"}
    outer = {"model.language_model.": "language_model.model.",
             "lm_head.": "language_model.lm_head.",
             "model.vision_tower.": "vision_tower.vision_model.",
             "model.multi_modal_projector.merge_": "patch_merge_mlp.",
             "model.multi_modal_projector.": "multi_modal_projector."}
    inner = {"vision_model.embeddings.proj.": "vision_model.embeddings.patch_embedding.",
             "vision_model.layers.": "vision_model.encoder.layers."}
    split = {}
    for name, tensor in weights.items():
        for old, new in outer.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        for old, new in inner.items():
            name = name.replace(old, new)
        experts = any(part in name for part in (".experts.", ".gate.", ".shared_experts."))
        for old, new in names.items():
            if name.startswith("language_model.") and (experts or old != ".mlp."):
                name = name.replace(old, new)
        if name.endswith(".gate_up_proj.weight"):
            prefix = name.removesuffix("gate_up_proj.weight")
            half = tensor.shape[0] // 2
            split[prefix + "gate_proj.weight"] = tensor[:half]
            split[prefix + "up_proj.weight"] = tensor[half:]
        else:
            split[name] = tensor
    return per_expert(("w1", "w3", "w2"))(split, config)


def _minimax_routers_of(layers):
    routers = []
    for index, layer in enumerate(layers):
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.scaling = layer.mlp.routed_scaling_factor
            routers.append((index, layer.mlp.gate))
    return routers


def _minimax_indexers(model):
    return [layer.self_attn.indexer for layer in model.model.language_model.layers
            if layer.self_attn.indexer is not None]


def _minimax_rope(model):
    rope = model.model.language_model.rotary_emb
    return rope.inv_freq, rope.attention_scaling


def _sparse(architecture, **other):
    return Family(architecture, **{"released": latent_released, "choices": biased_choices,
                                   "draw": latent_draw, "choosers": _indexers} | other)


SPARSE = {
    "axk2": _sparse("AXK2ForCausalLM", released=_axk2_released, choices=_axk2_choices,
                    draw=_axk2_draw),
    "deepseek_v32": _sparse("DeepseekV32ForCausalLM"),
    "glm_moe_dsa": _sparse("GlmMoeDsaForCausalLM"),
    "minimax_m3_vl": _sparse(
        "MiniMaxM3SparseForConditionalGeneration", released=_minimax_released,
        routers=lambda model: _minimax_routers_of(model.model.language_model.layers),
        choices=_minimax_choices, choosers=_minimax_indexers, rope=_minimax_rope,
        draw=_minimax_draw),
    "minimax_m3_vl_text": _sparse(
        "MiniMaxM3VLForCausalLM", released=unchanged, choices=_minimax_choices,
        routers=lambda model: _minimax_routers_of(model.model.layers), draw=_minimax_draw),
}
