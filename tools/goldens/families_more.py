# SPDX-License-Identifier: Apache-2.0
"""JetMoE, Arcee Trinity, K-EXAONE, Solar Open, Hunyuan 3, FlexOlmo, OLMo 2, 3,
Phi-3 and Seed-OSS, dense."""

import torch

from .family import (Family, argued_choices, biased_choices, by_key, dense, no_rope, per_expert,
                     routers_at, unchanged)


# JetMoE: experts of the MLP, which golden.json lists, and experts of attention, whose choices are
# as clear.


def _jetmoe_routers(model):
    for layer in model.model.layers:
        attention, mlp = layer.self_attention.experts.router, layer.mlp.router
        if not attention._forward_hooks:
            attention.register_forward_hook(_remember_logits)
            mlp.register_forward_hook(_attach_logits_of(attention))
    return [(index, layer.mlp.router) for index, layer in enumerate(model.model.layers)]


def _remember_logits(module, inputs, output):
    module.last_logits = output[-1]


def _attach_logits_of(attention):
    def hook(module, inputs, output):
        output[-1].of_attention = attention.last_logits  # of the same call
    return hook


def _jetmoe_choices(module, inputs, output):
    logits, k = output[-1], module.top_k
    best, chosen = logits.topk(k, dim=-1)
    other = logits.of_attention.softmax(-1).sort(-1, descending=True).values
    margin = other[:, k - 1] - other[:, k] if k < module.num_experts else None
    return by_key(logits.softmax(-1), chosen, best.softmax(-1), margin)


def _jetmoe_draw(name, noise, config):
    return 1.6 / noise.shape[1] ** 0.5 * noise if name.endswith("router.layer.weight") else None


def _olmo_draw(name, noise, config):
    """The stream is read as it is: routers see larger values, tied embeddings would rule it."""
    if "embed_tokens" in name and config["tie_word_embeddings"]:
        return 0.1 * noise
    return 0.5 / noise.shape[1] ** 0.5 * noise if name.endswith("mlp.gate.weight") else None


# K-EXAONE: published with a part that predicts further tokens.


def _exaone_released(weights, config):
    result = per_expert(rename=lambda name: name.replace("mlp.gate.e_score", "mlp.e_score"))(
        weights, config)
    if config.get("num_nextn_predict_layers", 0):
        hidden = config["hidden_size"]
        result |= {"mtp.norm.weight": torch.ones(hidden),
                   "mtp.fc.weight": torch.ones(hidden, 2 * hidden)}
    return result


def _hunyuan3_names(name):
    for ours, published in ((".mlp.gate.", ".mlp.router.gate."),
                            (".mlp.e_score_correction_bias", ".mlp.expert_bias"),
                            (".mlp.shared_experts.", ".mlp.shared_mlp.")):
        name = name.replace(ours, published)
    return name


def _hunyuan3_released(weights, config):
    result = per_expert(rename=_hunyuan3_names)(weights, config)
    for extra in range(config.get("num_nextn_predict_layers", 0)):
        prefix = f"model.layers.{config['num_hidden_layers'] + extra}."
        result[prefix + "eh_proj.weight"] = torch.ones(config["hidden_size"])
    return result


def _phi3_draw(name, noise, config):
    return 1.5 / noise.shape[1] ** 0.5 * noise if name.endswith("qkv_proj.weight") else None


MORE = {
    "afmoe": Family("AfmoeForCausalLM", routers=routers_at("mlp.router"),
                    choices=argued_choices),
    "exaone_moe": Family("ExaoneMoeForCausalLM", released=_exaone_released,
                         choices=biased_choices),
    "flex_olmo": Family("FlexOlmoForCausalLM", draw=_olmo_draw),
    "hy_v3": Family("HYV3ForCausalLM", released=_hunyuan3_released, choices=argued_choices),
    "jetmoe": Family("JetMoeForCausalLM", released=unchanged, routers=_jetmoe_routers,
                     choices=_jetmoe_choices, draw=_jetmoe_draw),
    "olmo2": dense("Olmo2ForCausalLM", draw=_olmo_draw),
    "phi3": dense("Phi3ForCausalLM", draw=_phi3_draw),
    "olmo3": dense("Olmo3ForCausalLM", draw=_olmo_draw, rope=no_rope),
    "seed_oss": dense("SeedOssForCausalLM"),
    "solar_open": Family("SolarOpenForCausalLM", choices=biased_choices),
}
