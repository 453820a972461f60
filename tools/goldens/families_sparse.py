# SPDX-License-Identifier: Apache-2.0
"""Families whose latent attention is sparse: indexers choose the keys that a query sees."""

import torch
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer
from transformers.models.glm_moe_dsa.modeling_glm_moe_dsa import GlmMoeDsaIndexer

from .families_latent import latent_draw, latent_released
from .family import Family, biased_choices

# Beside the gap that routers need: an index score is a sum of a few products, good to 1e-6.
_CLEARER = 10.0


def _margins(scores, most):
    """How far the last chosen key of each row is from the first that is not; all seen: infinity."""
    rows = scores.reshape(-1, scores.shape[-1]).float()
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


for _indexer in (DeepseekV32Indexer, GlmMoeDsaIndexer):
    _indexer.margins = []
    _indexer.forward = _watched(_indexer.forward)


def _indexers(model):
    return [layer.self_attn.indexer for layer in model.model.layers
            if layer.self_attn.indexer is not None]


def _sparse(architecture):
    return Family(architecture, released=latent_released, choices=biased_choices, draw=latent_draw,
                  choosers=_indexers)


SPARSE = {
    "deepseek_v32": _sparse("DeepseekV32ForCausalLM"),
    "glm_moe_dsa": _sparse("GlmMoeDsaForCausalLM"),
}
