# SPDX-License-Identifier: Apache-2.0
"""Families whose latent attention is sparse: indexers choose the keys that a query sees."""

import torch
from transformers.models.axk2.modeling_axk2 import AXK2Indexer
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer
from transformers.models.glm_moe_dsa.modeling_glm_moe_dsa import GlmMoeDsaIndexer

from .families_latent import latent_draw, latent_released
from .family import Family, biased_choices, by_key, groups, renamed

# Beside the gap that routers need: an index score is a sum of a few products, good to 1e-6.
_CLEARER = 10.0


def _margins(scores, most):
    """How far the last chosen key of each row is from the first that is not; all seen: infinity."""
    rows = scores.flatten(0, -2).float()
    hidden = rows <= torch.finfo(torch.float32).min / 2
    best = rows.masked_fill(hidden, -torch.inf).sort(-1, descending=True).values
    if best.shape[-1] <= most:
        return torch.full((rows.shape[0],), torch.inf)
    gaps = best[:, most - 1] - best[:, most]
    return torch.where(best[:, most].isinf(), torch.inf, _CLEARER * gaps)


def _watched(forward):
    """The forward of an indexer, which adds to its `margins` what its scores say about them."""
    def watched(self, *arguments, **keywords):
        topk = torch.Tensor.topk

        def watched_topk(scores, k, **other):
            self.margins.append(_margins(scores, self.index_topk))
            return topk(scores, k, **other)

        torch.Tensor.topk = watched_topk
        try:
            return forward(self, *arguments, **keywords)
        finally:
            torch.Tensor.topk = topk
    return watched


def watch_indexers(*indexers):
    """Classes whose objects tell what Family.choosers must."""
    for indexer in indexers:
        indexer.margins = []
        indexer.forward = _watched(indexer.forward)


watch_indexers(AXK2Indexer, DeepseekV32Indexer, GlmMoeDsaIndexer)


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


def _sparse(architecture, **other):
    return Family(architecture, **{"released": latent_released, "choices": biased_choices,
                                   "draw": latent_draw, "choosers": _indexers} | other)


SPARSE = {
    "axk2": _sparse("AXK2ForCausalLM", released=_axk2_released, choices=_axk2_choices,
                    draw=_axk2_draw),
    "deepseek_v32": _sparse("DeepseekV32ForCausalLM"),
    "glm_moe_dsa": _sparse("GlmMoeDsaForCausalLM"),
}
