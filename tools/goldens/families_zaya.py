# SPDX-License-Identifier: Apache-2.0
"""ZAYA1: its router carries numbers from layer to layer, and may choose no expert at all."""

import torch

from .family import Family, by_key, no_rope, unchanged


def _choices(module, inputs, output):
    """What Transformers hides of a token without an expert, that it chose the last class."""
    logits, weights, chosen, _ = output
    keys = logits.float().softmax(-1) + module.balancing_biases
    skips = keys.argmax(-1, keepdim=True) == module.num_experts
    return by_key(keys, torch.where(skips, module.num_experts, chosen), weights.float())


def _draw(name, noise, config):
    if name.endswith("balancing_biases"):
        # Transformers 5.17 writes -1 over the last one after loading, whatever a file has. So that
        # some tokens have no expert all the same, the others are about as far down.
        biases = 0.1 * noise - 0.9
        biases[-1] = -1.0
        return biases
    if name.endswith("router_states_scale"):
        return 0.8 + 0.25 * noise
    if name.endswith(("_states_scale", "residual_scale")):
        return 1.0 + 0.2 * noise
    if name.endswith(("_states_bias", "residual_bias")):
        return 0.1 * noise
    if name.endswith("conv_qk_grouped.weight"):
        return 1.3 / (noise.shape[-1] * noise.shape[-2]) ** 0.5 * noise
    if name.endswith(("fc1.weight", "fc2.weight", "out_proj.weight")):
        return 2.5 / noise.shape[-1] ** 0.5 * noise
    return None


ZAYA = {
    "zaya": Family("ZayaForCausalLM", released=unchanged, choices=_choices, rope=no_rope,
                   draw=_draw),
}
