# SPDX-License-Identifier: Apache-2.0
"""Families most of whose layers keep a state: LFM2, Granite 4, Jamba, Nemotron-H."""

import math
import re

import torch

from .family import (Family, biased_choices, by_key, dense, no_rope, per_expert, renamed, routed,
                     routers_at, unchanged)


# LFM2: sigmoids plus a bias choose, or sigmoids alone, and weigh.


def _lfm2_choices(module, inputs, output):
    logits, weights, chosen = output
    keys = logits.float().sigmoid()
    return by_key(keys if inputs[1] is None else keys + inputs[1], chosen, weights.float())


def _lfm2_draw(name, noise, config):
    if name.endswith("expert_bias"):
        return 0.2 * noise
    if re.search(r"conv\.in_proj\.weight|feed_forward\.gate\.weight", name):
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    return None


def _lfm2_rope(model):
    return model.model.pos_emb.inv_freq, model.model.pos_emb.attention_scaling


# State spaces: a state lasts some ten rows, and what a row adds to it is seen.


def _state_space_draw(name, noise, config):
    if name.endswith("A_log"):
        return noise - 1.5
    if name.endswith(".D"):
        return 1.0 + 0.25 * noise
    if name.endswith("in_proj.weight"):
        return 1.5 / noise.shape[-1] ** 0.5 * noise
    return None


# How Granite is released, by the names of Transformers: all experts in one tensor.
GRANITE_NAMES = {
    "block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
    "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear.weight",
    "block_sparse_moe.router.weight": "block_sparse_moe.router.layer.weight",
}


def granite_choices(module, inputs, output):
    logits, weights, chosen = routed(output)
    return by_key(logits.float().softmax(-1), chosen, weights.float())


def _granite_rope(model):
    rope = model.model.rotary_emb
    return rope and (rope.inv_freq, rope.attention_scaling)


# Nemotron-H: other names, one tensor per expert, a part that predicts further tokens.


def _nemotron_released(weights, config):
    result = {}
    for name, tensor in weights.items():
        name = re.sub(r"^model\.", "backbone.", name)
        match = re.match(r"(.*\.mixer\.experts\.)(up_proj|down_proj)$", name)
        if match:
            for expert in range(tensor.shape[0]):
                result[f"{match[1]}{expert}.{match[2]}.weight"] = tensor[expert]
        else:
            result[name] = tensor
    if config.get("num_nextn_predict_layers", 0):
        result["mtp.layers.0.norm.weight"] = torch.ones(config["hidden_size"])
    return result


def _nemotron_draw(name, noise, config):
    if "embeddings" in name:
        return noise
    if re.search(r"mixer\.gate\.weight|[qk]_proj\.weight", name):
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    if re.search(r"latent_proj\.weight", name):
        return 1.3 / noise.shape[-1] ** 0.5 * noise
    return _state_space_draw(name, noise, config)


def _nemotron_correct(model):
    """Transformers 5.17 lifts every dt of a prompt to time_step_min, but not one of a single token.
    The authors' time_step_limit has no bounds."""
    for module in model.modules():
        if hasattr(module, "time_step_limit"):
            module.time_step_limit = (0.0, math.inf)


# Jamba: what chooses and weighs is the softmax over all outputs of a matrix, which was the router of
# Transformers before 5.24.


def _jamba_routers(model):
    routers = routers_at("feed_forward.router")(model)
    for _, router in routers:
        router.top_k = model.config.num_experts_per_tok
    return routers


def _jamba_choices(module, inputs, output):
    logits = output[0] if isinstance(output, tuple) else output
    probabilities = logits.float().softmax(-1)
    weights, chosen = probabilities.topk(module.top_k, dim=-1)
    return by_key(probabilities, chosen, weights)


HYBRID = {
    "lfm2_moe": Family("Lfm2MoeForCausalLM", released=per_expert(("w1", "w3", "w2")),
                       routers=routers_at("feed_forward.gate"), choices=_lfm2_choices,
                       rope=_lfm2_rope, draw=_lfm2_draw),
    "lfm2": dense("Lfm2ForCausalLM", released=unchanged, draw=_lfm2_draw),
    "granitemoehybrid": Family(
        "GraniteMoeHybridForCausalLM", released=renamed(GRANITE_NAMES), choices=granite_choices,
        routers=routers_at("block_sparse_moe.router"), rope=_granite_rope,
        draw=_state_space_draw),
    "jamba": Family("JambaForCausalLM", routers=_jamba_routers, choices=_jamba_choices,
                    rope=no_rope, draw=_state_space_draw),
    "nemotron_h": Family(
        "NemotronHForCausalLM", released=_nemotron_released, choices=biased_choices,
        routers=routers_at("mixer.gate"), rope=no_rope, draw=_nemotron_draw,
        correct=_nemotron_correct),
}
