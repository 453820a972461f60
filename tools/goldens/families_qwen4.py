# SPDX-License-Identifier: Apache-2.0
"""Qwen4-Exp: linear attention, pools of keys, gated streams, embeddings of n-grams."""

import re

import torch
from transformers import AutoModelForCausalLM
from transformers.models.qwen4_exp import configuration_qwen4_exp, modeling_qwen4_exp
from transformers.models.qwen4_exp.modeling_qwen4_exp import Qwen4ExpTextQSAIndexer

from .families_sparse import margins_of
from .family import Family, per_expert, text_of

# As released, below model.language_model: Transformers would read the text model alone.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_qwen4_exp.Qwen4ExpConfig: modeling_qwen4_exp.Qwen4ExpForConditionalGeneration,
}


def _watched(forward):
    """The forward of an indexer, which calls topk once for each query that has a full pool."""
    def watched(self, hidden_states, *arguments, **keywords):
        topk, clear = torch.Tensor.topk, []

        def watched_topk(scores, k, **other):
            clear.append(margins_of(scores[None], self.block_topk))
            return topk(scores, k, **other)

        torch.Tensor.topk = watched_topk
        try:
            result = forward(self, hidden_states, *arguments, **keywords)
        finally:
            torch.Tensor.topk = topk
        first = torch.full((hidden_states.shape[1] - len(clear),), torch.inf)
        self.margins.append(torch.cat([first, *clear]))
        return result
    return watched


Qwen4ExpTextQSAIndexer.margins = []
Qwen4ExpTextQSAIndexer.forward = _watched(Qwen4ExpTextQSAIndexer.forward)


def _hash_numbers(name, config):
    """What a checkpoint has beside a table of n-grams: it follows from config.json."""
    text = config.get("text_config", config)
    layer = int(re.search(r"layers\.(\d+)\.", name)[1])
    index = sorted(text["ple_layer_ids"]).index(layer + 1)
    size = text.get("ngram_size", 3)
    if name.endswith("layer_multipliers"):
        return modeling_qwen4_exp._build_layer_multipliers(text["vocab_size"], size, index,
                                                           text.get("seed", 1234))
    heads = (size - 1) * text.get("heads_per_ngram", 8)
    start = text["ngram_vocab_size_base"] - 1
    sizes = [modeling_qwen4_exp._find_nth_prime_after(start, index * heads + head + 1)
             for head in range(heads)]
    offsets = [sum(sizes[:head]) for head in range(heads)]
    return torch.tensor(sizes if name.endswith("vocab_sizes") else offsets)


def _draw(name, noise, config):
    """Norms multiply by 1 + weight, but for that of linear attention; states last some ten rows."""
    if name.endswith(("layer_multipliers", "vocab_sizes", "heads_offsets")):
        return _hash_numbers(name, config)
    if name.endswith("A_log"):
        return noise - 1.5
    if "norm" in name and "visual." not in name:
        return (1.0 if ".linear_attn." in name else 0.0) + 0.25 * noise
    if name.endswith("ngram_embedding.weight"):
        return noise
    if name.endswith(".ple.conv1d.weight"):
        return 0.5 * noise
    if re.search(r"(index_qk_proj|input_mix_weight_(down|up)|block_inject_weight|\.ple\.\w+_proj)"
                 r"\.weight$", name):
        return 2.0 / noise.shape[-1] ** 0.5 * noise
    return None


def _released(weights, config):
    """Tables in parts, experts in one tensor or, for one variant, apart; and what is not read."""
    text = config.get("text_config", config)
    tensors = {}
    for name, tensor in weights.items():
        if name.endswith("ngram_embedding.weight"):
            parts = tensor.chunk(text.get("split_ngram_parts", 512))
            stem = name.removesuffix("weight")
            tensors |= {f"{stem}shard_{i}.weight": part for i, part in enumerate(parts)}
        else:
            tensors[name] = tensor
    norm = next(tensor for name, tensor in weights.items() if name.endswith("q_norm.weight"))
    tensors["mtp.norm.weight"] = torch.ones_like(norm)
    return per_expert()(tensors, config) if text["num_experts"] == 5 else tensors


def _indexers(model):
    return [layer.self_attn.indexer for layer in text_of(model).layers
            if hasattr(layer, "self_attn")]


def _family(architecture):
    return Family(architecture, released=_released, draw=_draw,
                  choosers=_indexers)


QWEN4 = {
    "qwen4_exp": _family("Qwen4ExpForConditionalGeneration"),
    "qwen4_exp_text": _family("Qwen4ExpForCausalLM"),
}
