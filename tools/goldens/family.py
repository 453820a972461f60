# SPDX-License-Identifier: Apache-2.0
"""What the generator must know of a model family; most fields have a default that is usual."""

from dataclasses import dataclass
from typing import Callable

import torch


@dataclass
class Choices:
    """What one router decided for n tokens.

    The k greatest of a row of `keys` are the chosen experts; experts that cannot be chosen (of a
    group that lost) are -inf. `ids` and `weights` are in slot order: descending key, ties to the
    lower id. `margin` is the distance of a token's other decisions, such as between groups.
    """
    keys: torch.Tensor  # [n, E]
    ids: torch.Tensor  # [n, k]
    weights: torch.Tensor  # [n, k]
    margin: torch.Tensor | None = None  # [n]


def by_key(keys, chosen, weights, margin=None):
    """Choices out of ids [n, k] in any order and their weights; insists that keys explain them."""
    order = torch.sort(-keys, dim=-1, stable=True).indices[:, :chosen.shape[-1]]
    if not torch.equal(torch.sort(order, -1).values, torch.sort(chosen, -1).values):
        raise RuntimeError("chosen experts are not those of the greatest keys")
    slots = torch.zeros_like(keys).scatter(-1, chosen, weights.to(keys.dtype))
    return Choices(keys, order, slots.gather(-1, order), margin)


def groups(keys, count, kept, score):
    """(keys with -inf in groups that lose, the least margin between groups that decide).

    `score` gives the scores of groups [n, count] from their keys [n, count, E / count].
    """
    by_group = keys.unflatten(-1, (count, -1))
    scores = score(by_group)
    if kept == count:
        return keys, None
    ranked, order = torch.sort(scores, dim=-1, descending=True, stable=True)
    wins = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order[:, :kept], True)
    eligible = by_group.masked_fill(~wins[..., None], float("-inf")).flatten(-2)
    return eligible, ranked[:, kept - 1] - ranked[:, kept]


def routed(output):
    """(logits, weights, ids) of a router that gave (ids, weights, logits) before Transformers 5.24."""
    return output if output[2].dtype == torch.long else output[::-1]


def softmax_choices(module, inputs, output):
    """A router that returns (logits, weights, ids) and chooses the greatest probabilities."""
    logits, weights, chosen = output
    return by_key(logits.float().softmax(-1), chosen, weights.float())


def biased_choices(module, inputs, output):
    """DeepSeek-V3: sigmoid plus bias; a group is worth its two best."""
    logits, weights, chosen = output
    keys, margin = groups(logits.sigmoid() + module.e_score_correction_bias, module.num_group,
                          module.topk_group, lambda group: group.topk(2, dim=-1).values.sum(-1))
    return by_key(keys, chosen, weights, margin)


def argued_choices(module, inputs, output):
    """The same, without groups, of a router that gets its bias as an argument."""
    logits, weights, chosen = output
    return by_key(logits.float().sigmoid() + inputs[1], chosen, weights)


def text_of(model):
    """The text model of one that looks or listens, too, or the model itself."""
    return getattr(model.model, "language_model", model.model)


def routers_at(path):
    """The modules `path` of the layers that have one: (layer index, module)."""
    def routers(model):
        return [(index, module) for index, layer in enumerate(text_of(model).layers)
                for name, module in layer.named_modules() if name == path]
    return routers


def per_expert(names=("gate_proj", "up_proj", "down_proj"), rename=lambda name: name):
    """The classic layout: a tensor per expert and projection. `rename` changes all names before."""
    gate, up, down = names

    def released(weights, config):
        result = {}
        for name, tensor in weights.items():
            name = rename(name)
            if name.endswith(".experts.gate_up_proj"):
                prefix = name.removesuffix("gate_up_proj")
                half = tensor.shape[1] // 2
                for expert in range(tensor.shape[0]):
                    result[f"{prefix}{expert}.{gate}.weight"] = tensor[expert, :half]
                    result[f"{prefix}{expert}.{up}.weight"] = tensor[expert, half:]
            elif name.endswith(".experts.down_proj"):
                prefix = name.removesuffix("down_proj")
                for expert in range(tensor.shape[0]):
                    result[f"{prefix}{expert}.{down}.weight"] = tensor[expert]
            else:
                result[name] = tensor
        return result
    return released


def is_of_text(name):
    """Not of the part of a multimodal model that looks at pictures, which need not be in a file."""
    return not any(part in name for part in ("visual.", "vision_tower.", "model.vision_model.",
                                             "audio_tower.", "mm_projector.", "embed_vision.",
                                             "embed_audio.", "multi_modal_projector.",
                                             "resampler_model.", "view_separator",
                                             "image_newline"))


def unchanged(weights, config):
    return weights


def renamed(names):
    """All tensors as they are, by names in which each key of `names` became its value."""
    def released(weights, config):
        result = {}
        for name, tensor in weights.items():
            for old, new in names.items():
                if name.endswith(old):
                    name = name.removesuffix(old) + new
            result[name] = tensor
        return result
    return released


def usual_rope(model):
    """(frequencies, factor of cos and sin) as the last forward used them."""
    rope = text_of(model).rotary_emb
    return rope.inv_freq, rope.attention_scaling


def no_rope(model):
    """No one vector of frequencies says what the model does: golden.json has none."""
    return None


def usual_draw(name, noise, config):
    """None: random_tensor decides. Otherwise the values of the tensor `name`."""
    return None


@dataclass(frozen=True)
class Family:
    architecture: str
    # weights by the names of a state dict, config -> {name: tensor} as published.
    released: Callable = per_expert()
    # model -> [(layer index, module whose forward shows the decisions)]; [] for dense families.
    routers: Callable = routers_at("mlp.gate")
    # model, layer index -> the layers of the golden model that the calls of its router belong to, in
    # turn.
    visits: Callable = lambda model, layer: [layer]
    # module, inputs of its forward (keywords last), its output -> Choices.
    choices: Callable = softmax_choices
    # model -> (inv_freq, attention_scaling) or None.
    rope: Callable = usual_rope
    # model -> None: repairs what Transformers computes unlike the authors' code, after loading.
    correct: Callable = lambda model: None
    # model, token ids, length of the prompt -> logits of an uncached forward that does what a cached
    # one does behind the prompt. None: every uncached forward does.
    by_prompt: Callable | None = None
    # model -> what chooses beside routers: each adds to its `margins` how clear that was, [rows].
    choosers: Callable = lambda model: []
    # name, standard normal noise, config -> values or None.
    draw: Callable = usual_draw


def dense(architecture, **other):
    """A family without experts."""
    return Family(architecture, routers=lambda model: [], **other)
