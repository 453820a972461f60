# SPDX-License-Identifier: Apache-2.0
"""Mistral Small 4, alone and below pictures, MiMo-V2-Flash, Laguna, Mellum 2, Cohere 2 with experts,
Granite Swash, A.X-K1, Aria and Step-3.7-Flash."""

from transformers import AutoModelForCausalLM
from transformers.models.aria import configuration_aria, modeling_aria
from transformers.models.mistral3 import configuration_mistral3, modeling_mistral3
from transformers.models.mistral4 import configuration_mistral4, modeling_mistral4
from transformers.models.step3p7 import configuration_step3p7, modeling_step3p7

from .families_latent import latent_draw
from .family import (Family, biased_choices, by_key, groups, is_of_text, no_rope, per_expert,
                     renamed, routers_at, text_of, unchanged)

AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_aria.AriaConfig: modeling_aria.AriaForConditionalGeneration,
    configuration_mistral4.Mistral4Config: modeling_mistral4.Mistral4ForCausalLM,
    configuration_mistral3.Mistral3Config: modeling_mistral3.Mistral3ForConditionalGeneration,
    configuration_step3p7.Step3p7Config: modeling_step3p7.Step3p7ForConditionalGeneration,
}


def _mistral_choices(module, inputs, output):
    """Softmax; a group is worth its two best."""
    logits, weights, chosen = output
    keys, margin = groups(logits.softmax(-1), module.num_group, module.topk_group,
                          lambda group: group.topk(2, dim=-1).values.sum(-1))
    return by_key(keys, chosen, weights, margin)


def _sink_names(name):
    return name.replace("self_attn.sinks", "self_attn.attention_sink_bias")


# Laguna: the factor of weights stands outside of its router.


def _laguna_names(name):
    return (name.replace("mlp.gate.e_score", "mlp.experts.e_score")
            .replace("mlp.shared_experts.", "mlp.shared_expert."))


def _lend_factors(model):
    for layer in text_of(model).layers:
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.factor = layer.mlp.routed_scaling_factor


def _laguna_choices(module, inputs, output):
    logits, weights, chosen = output
    keys = logits.float().sigmoid() + module.e_score_correction_bias
    return by_key(keys, chosen, weights * module.factor)


def _cohere_choices(module, inputs, output):
    """By logits; what is close after softmax or sigmoids must not be close before."""
    logits, weights, chosen = output
    return by_key(logits.float(), chosen, weights.float())


def _cohere_draw(name, noise, config):
    """Embeddings are tied by default, and logits are multiplied with logit_scale; embeddings large
    enough to make up for that would rule the stream."""
    if "embed_tokens" in name or name == "lm_head.weight":
        return 1.5 / (noise.shape[1] * config.get("logit_scale", 0.0625)) ** 0.5 * noise
    return None


def _ax_names(name):
    return name.replace("mlp.post_mlp_layernorm", "post_mlp_layernorm")


def _below_language_model(name):
    return (name.replace("model.language_model.", "language_model.model.")
            .replace("lm_head.", "language_model.lm_head."))


def _text_released(weights, config):
    """As published: experts in one tensor, without what looks at pictures."""
    return {_below_language_model(name): tensor for name, tensor in weights.items()
            if is_of_text(name)}


def _aria_released(weights, config):
    """Transformers 5.24 has other names for the experts than files and versions before."""
    names = {"experts.gate_up_proj": "experts.fc1.weight", "experts.down_proj": "experts.fc2.weight"}
    return renamed(names)(_text_released(weights, config), config)


def _swash_draw(name, noise, config):
    """Embeddings are multiplied, and must not rule the stream where they are tied."""
    return 0.6 / noise.shape[1] ** 0.5 * noise if "embed_tokens" in name else None


def _aria_choices(module, inputs, output):
    logits = output[0] if isinstance(output, tuple) else output  # a matrix before Transformers 5.24
    best, chosen = logits.topk(module.top_k, dim=-1)
    return by_key(logits.softmax(-1), chosen, best.softmax(-1))


def _lend_top_k(model):
    for layer in model.model.language_model.layers:
        layer.mlp.router.top_k = model.config.text_config.moe_topk


def _mellum_released(weights, config):
    """With a tensor of the layer that predicts a further token."""
    result = per_expert()(weights, config)
    if config.get("num_mtp_layers", 0):
        result["mtp.layers.0.norm.weight"] = -weights["model.norm.weight"]
    return result


# Step-3.7: names of the authors; norms multiply by 1 + weight.


def _step_released(weights, config):
    result = {}
    for name, tensor in weights.items():
        if not is_of_text(name):
            continue
        name = (name.replace("model.language_model.", "model.")
                .replace("mlp.gate.weight", "moe.gate.weight")
                .replace("mlp.gate.e_score_correction_bias", "moe.router_bias")
                .replace("mlp.experts.down_proj", "moe.down_proj.weight")
                .replace("mlp.shared_experts.", "share_expert."))
        if name.endswith("mlp.experts.gate_up_proj"):
            prefix = name.removesuffix("mlp.experts.gate_up_proj")
            half = tensor.shape[1] // 2
            result[f"{prefix}moe.gate_proj.weight"] = tensor[:, :half]
            result[f"{prefix}moe.up_proj.weight"] = tensor[:, half:]
        else:
            result[name] = tensor
    behind = config["text_config"]["num_hidden_layers"]
    for index in range(config["text_config"].get("num_nextn_predict_layers", 0)):
        result[f"model.layers.{behind + index}.enorm.weight"] = -weights[
            "model.language_model.norm.weight"]
    return result


def _step_draw(name, noise, config):
    return 0.25 * noise if "norm" in name else None


LATEST = {
    "aria": Family("AriaForConditionalGeneration", released=_aria_released,
                   routers=routers_at("mlp.router"), choices=_aria_choices, correct=_lend_top_k),
    "axk1": Family("AXK1ForCausalLM", released=per_expert(rename=_ax_names),
                   choices=biased_choices, draw=latent_draw),
    "cohere2_moe": Family("Cohere2MoeForCausalLM", choices=_cohere_choices, draw=_cohere_draw),
    "granitemoe_swa": Family("GraniteMoeSWAForCausalLM", released=unchanged, rope=no_rope,
                             draw=_swash_draw,
                             routers=routers_at("block_sparse_moe.router")),
    "laguna": Family("LagunaForCausalLM", released=per_expert(rename=_laguna_names), rope=no_rope,
                     choices=_laguna_choices, correct=_lend_factors),
    "mellum": Family("MellumForCausalLM", released=_mellum_released, rope=no_rope),
    "step3p7": Family("Step3p7ForConditionalGeneration", released=_step_released, rope=no_rope,
                      choices=_laguna_choices,
                      correct=_lend_factors, draw=_step_draw),
    "mimo_v2_flash": Family("MiMoV2FlashForCausalLM", released=per_expert(rename=_sink_names),
                            choices=biased_choices, rope=no_rope),
    "mistral4": Family("Mistral4ForCausalLM", released=unchanged, choices=_mistral_choices,
                       draw=latent_draw),
    "mistral3": Family("Mistral3ForConditionalGeneration", released=_text_released,
                       choices=_mistral_choices, draw=latent_draw),
}
