# SPDX-License-Identifier: Apache-2.0
"""Llama 4, Ernie, Hunyuan and DBRX."""

import torch

from .family import Family, by_key, per_expert, routers_at, unchanged


def _prefixed(prefix):
    return lambda weights, config: {prefix + name: value for name, value in weights.items()}


# Llama 4: the weight of an expert is the sigmoid of its logit and multiplies the expert's input.


def _llama4_choices(module, inputs, output):
    scores, logits = output  # scores: 0 where not chosen
    chosen = logits.topk(module.top_k, dim=-1).indices
    return by_key(logits.float().sigmoid(), chosen, scores.float().gather(-1, chosen))


def _llama4_draw(name, noise, config):
    """Experts are [E, in, out]: the second dimension is summed over."""
    return 1.5 / noise.shape[1] ** 0.5 * noise if ".experts." in name else None


def _llama4(architecture, prefix=""):
    return Family(architecture, released=_prefixed(prefix), choices=_llama4_choices,
                  routers=routers_at("feed_forward.router"), draw=_llama4_draw)


# Ernie: probabilities plus a bias choose, probabilities weigh.


def _ernie_choices(module, inputs, output):
    logits, weights, chosen = output
    keys = logits.softmax(-1) + module.moe_statics.e_score_correction_bias.reshape(-1)
    return by_key(keys, chosen, weights.float())


def _ernie_released(weights, config):
    """Per expert, and tensors of a part that predicts further tokens, if config.json counts it."""
    result = per_expert(rename=lambda name: name.replace(".mlp.gate.moe_statics.",
                                                         ".mlp.moe_statics."))(weights, config)
    hidden = config["hidden_size"]
    for index in range(config.get("num_nextn_predict_layers", 0)):
        result |= {f"model.mtp_emb_norm.{index}.weight": torch.ones(hidden),
                   f"model.mtp_hidden_norm.{index}.weight": torch.ones(hidden),
                   f"model.mtp_linear_proj.{index}.weight": torch.ones(hidden, 2 * hidden)}
        result |= {name.replace("model.layers.0.", f"model.mtp_block.{index}."): tensor
                   for name, tensor in weights.items()
                   if name.startswith("model.layers.0.") and ".mlp." not in name}
    return result


# Hunyuan.


def _hunyuan_draw(name, noise, config):
    return 1.6 / noise.shape[1] ** 0.5 * noise if name.endswith(".gate.wg.weight") else None


# DBRX: other names, nested keys, all experts below each other in one matrix.


def _dbrx_choices(module, inputs, output):
    logits = module.router(inputs[0])
    weights, chosen = module.route_tokens_to_experts(logits)
    return by_key(logits.float().softmax(-1), chosen, weights.float())


def _dbrx_draw(name, noise, config):
    if "norm_attn_norm.attn" not in name and "norm" in name:
        return 1.0 + 0.25 * noise
    if name.endswith("wte.weight"):
        return noise
    if name.endswith(".w2"):
        return 1.5 / config["ffn_config"]["ffn_hidden_size"] ** 0.5 * noise
    gain = 1.0 if "out_proj" in name else 1.5
    return gain / noise.shape[1] ** 0.5 * noise


OTHER = {
    "llama4_text": _llama4("Llama4ForCausalLM"),
    # As published, with pictures: the same text model, whose config and tensors lie one deeper.
    "llama4": _llama4("Llama4ForConditionalGeneration", "language_model."),
    "ernie4_5_moe": Family("Ernie4_5_MoeForCausalLM", released=_ernie_released,
                           choices=_ernie_choices),
    "hunyuan_v1_moe": Family("HunYuanMoEV1ForCausalLM", draw=_hunyuan_draw),
    "dbrx": Family(
        "DbrxForCausalLM", released=unchanged, choices=_dbrx_choices, draw=_dbrx_draw,
        routers=lambda model: list(enumerate(block.ffn for block in model.transformer.blocks)),
        rope=lambda model: (model.transformer.rotary_emb.inv_freq,
                            model.transformer.rotary_emb.attention_scaling)),
}
