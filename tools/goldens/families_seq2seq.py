# SPDX-License-Identifier: Apache-2.0
"""Switch Transformers and NLLB-MoE: what their authors' routers decide, in place of Transformers'.

Transformers 5.17 flattens all tokens before it counts the places of an expert, so that a Switch
model never leaves a token out; and it reads NLLB's mask of first choices as expert ids, so that
only experts 0 and 1 are ever run. Both are repaired here: places are counted over a source, each
token of the decoder is by itself, and every chosen expert is run (fairseq, top2gate.py).
"""

from types import MethodType

import torch

from .draws import Draws, streams


class Step:
    """What the routers must know of the tokens that a model computes."""

    def __init__(self):
        self.source = self.target = ()

    def set(self, source, target):
        self.source, self.target = list(source), list(target)
        self._streams = streams(self.source + self.target)

    def draws(self, seed, layer, decoder, row):
        position = row + (len(self.source) if decoder else 0)
        return Draws(seed, self._streams[position], layer, position)


class Decision:
    """Of one layer's tokens: ids and weights in slot order, and how near the nearest decision was."""

    def __init__(self, ids, weights, gap):
        self.ids, self.weights, self.gap = ids, weights, gap


def _distance(values):
    """The least distance of neighbours among the sorted values."""
    ordered = torch.sort(values.flatten()).values
    return float((ordered[1:] - ordered[:-1]).min()) if ordered.numel() > 1 else 1.0


def _leading(scores, k):
    """The least distance among the k + 1 greatest of each row."""
    best = torch.sort(scores, -1, descending=True).values[:, :k + 1]
    return float((best[:, :-1] - best[:, 1:]).min()) if best.shape[-1] > 1 else 1.0


def _places(masks, order, capacity):
    """[n, E] masks of each slot in turn, tokens in `order`: those that find a place."""
    used = torch.zeros(masks[0].shape[-1], dtype=torch.long)
    kept = []
    for mask in masks:
        mine = torch.zeros_like(mask)
        for token in order:
            for expert in mask[token].nonzero().flatten().tolist():
                if used[expert] < capacity:
                    mine[token, expert] = 1
                used[expert] += 1
        kept.append(mine)
    return kept


def switch_route(mlp, logits, draws):
    """Top-1; tokens of a source in order take `expert_capacity` places of an expert."""
    probs = logits.softmax(-1)
    best, ids = probs.max(-1)
    used, weights = {}, []
    for weight, expert in zip(best, ids.tolist()):
        used[expert] = used.get(expert, 0) + 1
        weights.append(weight if used[expert] <= mlp.router.expert_capacity else 0 * weight)
    return Decision(ids[:, None], torch.stack(weights)[:, None], _leading(probs, 1))


def nllb_route(mlp, logits, draws):
    """fairseq, top2gate.py, in evaluation."""
    router, count = mlp.router, logits.shape[-1]
    probs = logits.softmax(-1)
    gap = _leading(probs, 2)
    first = probs.argmax(-1)
    one_hot = torch.nn.functional.one_hot
    noisy = logits.clone()
    if router.second_expert_policy == "sampling":
        noisy += torch.tensor([[one.gumbel(e) for e in range(count)] for one in draws])
    noisy = noisy.masked_fill(one_hot(first, count).bool(), float("-inf"))
    gap = min(gap, _leading(noisy, 1))
    second = noisy.argmax(-1)
    masks = [one_hot(first, count), one_hot(second, count)]
    raw = [(probs * mask).sum(-1) for mask in masks]
    tiny = torch.finfo(probs.dtype).eps
    if router.normalize_router_prob_before_dropping:
        raw = [one / torch.clamp(raw[0] + raw[1], min=tiny) for one in raw]
    if router.second_expert_policy == "random":
        chance = 2 * raw[1] - torch.tensor([one.extra(1) for one in draws])
        masks[1] = masks[1] * (chance > 0)[:, None]
        gap = min(gap, float(chance.abs().min()))
    order = range(len(probs))
    if router.batch_prioritized_routing:
        importance = probs.max(-1).values
        order = torch.sort(importance, descending=True, stable=True).indices.tolist()
        gap = min(gap, 100 * _distance(importance))
    fraction = router.moe_eval_capacity_token_fraction
    capacity = -(-fraction * len(probs) // 1) if fraction > 0 else router.capacity_of_config
    kept = [one.sum(-1) for one in _places(masks, order, capacity)]
    raw = [one * mask for one, mask in zip(raw, kept)]
    if not router.normalize_router_prob_before_dropping:
        raw = [one / torch.clamp(raw[0] + raw[1], min=tiny) for one in raw]
    return Decision(torch.stack([first, second], -1), torch.stack(raw, -1), gap)


def _repair(model, mlp, layer, decoder, route, factor):
    """Replaces the forward pass of a sparse layer; what it decides is in mlp.decisions."""
    mlp.decisions = []
    seed = 0

    def forward(self, hidden, *unused):
        rows = hidden.reshape(-1, hidden.shape[-1])
        logits = self.router.classifier(rows.to(self.router.classifier.weight.dtype))
        draws = [model.step.draws(seed, layer, decoder, row) for row in range(len(rows))] \
            if getattr(self.router, "second_expert_policy", "all") != "all" else [None] * len(rows)
        parts = [(row, row + 1) for row in range(len(rows))] if decoder else [(0, len(rows))]
        decided = [route(self, logits[a:b], draws[a:b]) for a, b in parts]
        ids = torch.cat([one.ids for one in decided])
        weights = torch.cat([one.weights for one in decided]) * factor
        self.decisions.append(Decision(ids, weights, min(one.gap for one in decided)))
        result = torch.zeros_like(rows)
        for slot in range(ids.shape[-1]):
            for expert in range(self.router.num_experts):
                mine = (ids[:, slot] == expert) & (weights[:, slot] > 0)
                out = self.experts[f"expert_{expert}"](rows[mine])
                result[mine] += (weights[mine, slot, None] * out).to(rows.dtype)
        return result.reshape(hidden.shape)

    mlp.forward = MethodType(forward, mlp)
    mlp.router.classifier.float()


def sparse_layers(model):
    """[(layer in the whole model, is it the decoder's, the module)]"""
    switch = model.config.model_type == "switch_transformers"
    result, first = [], 0
    body = model if switch else model.model
    for stack, decoder in ((body.encoder, False), (body.decoder, True)):
        layers = stack.block if switch else stack.layers
        for index, layer in enumerate(layers):
            mlp = layer.layer[-1].mlp if switch else layer.ffn
            if hasattr(mlp, "router"):
                result.append((first + index, decoder, mlp))
        first += len(layers)
    return result


def correct(model):
    """The authors' routers, for good."""
    model.step = Step()
    config = model.config
    route, factor = switch_route, 1.0
    if config.model_type == "nllb-moe":
        route, factor = nllb_route, 1.0 - config.moe_token_dropout
    for layer, decoder, mlp in sparse_layers(model):
        mlp.router.capacity_of_config = config.expert_capacity
        _repair(model, mlp, layer, decoder, route, factor)


def draw(name, noise, config):
    """Weights that make attention and routing decisive."""
    width = noise.shape[-1]
    if "norm" in name:
        return 0.2 * noise if name.endswith("bias") else 1.0 + 0.25 * noise
    if name.endswith("relative_attention_bias.weight"):
        return noise
    if name.endswith("bias"):
        return 0.2 * noise
    if name.endswith(("shared.weight", "embed_tokens.weight")):
        scaled = config.get("scale_embedding", config["model_type"] == "nllb-moe")
        return (1.5 / width ** 0.5 if scaled else 1.2) * noise
    gain = 1.0
    if "lm_head" in name or "classifier" in name or ".wi." in name or ".fc1." in name:
        gain = 1.6
    if name.endswith((".o.weight", ".wo.weight")):
        gain = 3.0  # what layers add outweighs the token itself, which a tied head would repeat
    if name.endswith(".fc2.weight"):
        gain = 10.0
    if name.endswith(("SelfAttention.q.weight", "EncDecAttention.q.weight")):
        gain = 0.6
    return gain / width ** 0.5 * noise


ARCHITECTURES = {"switch_transformers": "SwitchTransformersForConditionalGeneration",
                 "nllb-moe": "NllbMoeForConditionalGeneration"}
