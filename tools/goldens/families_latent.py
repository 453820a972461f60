# SPDX-License-Identifier: Apache-2.0
"""DeepSeek and its relatives: latent attention, or its routers (biased keys, groups of experts)."""

import re

import torch
from torch import nn
from torch.nn.functional import linear
from transformers.models.longcat_flash.modeling_longcat_flash import LongcatFlashExperts

from .family import Family, biased_choices, by_key, groups, per_expert, routers_at


def greedy_choices(module, inputs, output):
    """DeepSeek-V2: softmax; a group is worth its best, if there are groups."""
    logits, weights, chosen = output
    keys, margin = logits.softmax(-1), None
    if module.topk_method == "group_limited_greedy":
        keys, margin = groups(keys, module.num_group, module.topk_group,
                              lambda group: group.amax(-1))
    return by_key(keys, chosen, weights, margin)


def _longcat_choices(module, inputs, output):
    weights, chosen = output[-2:]  # behind logits since Transformers 5.24
    rows = inputs[0].view(-1, module.hidden_dim).float()
    probabilities = linear(rows, module.classifier.weight.float()).softmax(-1)
    return by_key(probabilities + module.e_score_correction_bias, chosen, weights)


def latent_draw(name, noise, config):
    if noise.numel() == 0:  # of a shared expert of width 0
        return noise
    gain = None
    if re.search(r"q_b_proj|self_attn\.q_proj|classifier", name):
        gain = 1.6
    elif re.search(r"kv_a_proj|kv_b_proj", name):
        gain = 1.3
    elif name.endswith("correction_bias") and config["model_type"] == "longcat_flash":
        return 0.05 * noise  # beside probabilities of many experts
    if gain is None or name.endswith("bias"):
        return None
    return gain / noise.shape[-1] ** 0.5 * noise


def _head(weights):
    return weights.get("lm_head.weight", weights["model.embed_tokens.weight"])


def _predictor(weights, prefix, layer, extra):
    """Tensors of a layer that predicts one token more, which engines skip by name."""
    norm = weights["model.norm.weight"]
    tensors = {f"{prefix}{name}": -tensor for name, tensor in layer.items()}
    tensors |= {f"{prefix}{name}.weight": -norm for name in extra}
    return tensors | {f"{prefix}eh_proj.weight": torch.cat((_head(weights)[:norm.numel()],) * 2, 1)}


def latent_released(weights, config):
    """One tensor per expert, and the layers behind the last that predict tokens."""
    tensors = {name: tensor for name, tensor in per_expert()(weights, config).items()
               if tensor.numel()}
    layers = config["num_hidden_layers"]
    last = f"model.layers.{layers - 1}."
    layer = {name.removeprefix(last): tensor for name, tensor in tensors.items()
             if name.startswith(last)}
    for index in range(layers, layers + config.get("num_nextn_predict_layers", 0)):
        prefix = f"model.layers.{index}."
        tensors |= _predictor(weights, prefix, layer, ("enorm", "hnorm", "shared_head.norm"))
        tensors[f"{prefix}embed_tokens.weight"] = -weights["model.embed_tokens.weight"]
        tensors[f"{prefix}shared_head.head.weight"] = -_head(weights)
    return tensors


def _longcat_released(weights, config):
    tensors = per_expert()(weights, config)
    if config.get("num_nextn_predict_layers", 0):
        attention = {f"self_attn.{name.partition('.self_attn.0.')[2]}": tensor
                     for name, tensor in tensors.items()
                     if name.startswith("model.layers.0.self_attn.0.")}
        tensors |= _predictor(weights, "model.mtp.layers.0.", attention,
                              ("enorm.m", "hnorm.m", "input_layernorm", "post_attention_layernorm"))
        tensors["model.mtp.embed_tokens.weight"] = -weights["model.embed_tokens.weight"]
        tensors["model.mtp.norm.weight"] = -weights["model.norm.weight"]
    return tensors


_longcat_experts = LongcatFlashExperts.__init__


def _as_many_as_released(self, config):
    """Published checkpoints have gate and up of real experts alone; the class wants them of all."""
    _longcat_experts(self, config)
    real = self.gate_up_proj[:config.n_routed_experts]
    self.gate_up_proj = nn.Parameter(torch.empty_like(real))


LongcatFlashExperts.__init__ = _as_many_as_released


def _latent(architecture, choices=biased_choices):
    return Family(architecture, released=latent_released, choices=choices, draw=latent_draw)


LATENT = {
    "deepseek_v2": _latent("DeepseekV2ForCausalLM", greedy_choices),
    "deepseek_v3": _latent("DeepseekV3ForCausalLM"),
    "dots1": _latent("Dots1ForCausalLM"),
    "glm4_moe_lite": _latent("Glm4MoeLiteForCausalLM"),
    "longcat_flash": Family(
        "LongcatFlashForCausalLM", released=_longcat_released, choices=_longcat_choices,
        routers=routers_at("mlp.router"), draw=latent_draw),
}
