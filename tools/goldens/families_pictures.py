# SPDX-License-Identifier: Apache-2.0
"""Text models inside of multimodal ones: ERNIE 4.5 VL, GLM-4.5V, Kimi-K2.5, Qwen3-VL-MoE."""

import torch
from transformers import AutoModelForCausalLM
from transformers.models.ernie4_5_vl_moe import (configuration_ernie4_5_vl_moe,
                                                 modeling_ernie4_5_vl_moe)
from transformers.models.glm4v_moe import configuration_glm4v_moe, modeling_glm4v_moe
from transformers.models.kimi_k25 import configuration_kimi_k25, modeling_kimi_k25
from transformers.models.qwen3_vl_moe import configuration_qwen3_vl_moe, modeling_qwen3_vl_moe

from .family import Family, biased_choices, by_key, is_of_text, no_rope, per_expert

# Transformers has them for pictures and text only, and `register` leaves its own classes alone.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_ernie4_5_vl_moe.Ernie4_5_VLMoeConfig:
        modeling_ernie4_5_vl_moe.Ernie4_5_VLMoeForConditionalGeneration,
    configuration_glm4v_moe.Glm4vMoeConfig: modeling_glm4v_moe.Glm4vMoeForConditionalGeneration,
    configuration_kimi_k25.Kimi_K25Config: modeling_kimi_k25.Kimi_K25ForConditionalGeneration,
    configuration_qwen3_vl_moe.Qwen3VLMoeConfig:
        modeling_qwen3_vl_moe.Qwen3VLMoeForConditionalGeneration,
}


def _kimi_names(name):
    return (name.replace("model.language_model.", "language_model.model.")
            .replace("lm_head.", "language_model.lm_head."))


def _kimi_saved_names(name):
    return _kimi_names(name).replace(".layers.", ".blocks.")


def _kimi_released(weights, config):
    """Without what looks at pictures; or as Transformers writes it, with other words for layers."""
    text = {name: tensor for name, tensor in weights.items() if is_of_text(name)}
    rename = _kimi_saved_names if "transformers_version" in config else _kimi_names
    return per_expert(rename=rename)(text, config)


def _qwen_released(weights, config):
    """With it; matrices of experts are [E, in, out]."""
    return {name: tensor.transpose(1, 2) if ".mlp.experts." in name else tensor
            for name, tensor in weights.items()}


def _ernie_routers(model):
    return [(index, layer.mlp.text_moe.gate)
            for index, layer in enumerate(model.model.language_model.layers)
            if hasattr(layer.mlp, "text_moe")]


def _ernie_choices(module, inputs, output):
    logits, weights, chosen = output
    bias = module.moe_statics.e_score_correction_bias.detach().reshape(-1)
    keys = logits.softmax(-1) + bias
    return by_key(keys, chosen, weights.float())


def _ernie_released(weights, config):
    """Without what looks at pictures, but with the experts of its tokens: behind those of text."""
    result, experts = {}, config["text_config"]["moe_num_experts"]
    text = {name.replace("model.language_model.", "model."): tensor
            for name, tensor in weights.items() if is_of_text(name)}
    for name, tensor in text.items():
        if ".vision_moe.gate.moe_statics." in name:
            continue
        if ".text_moe.gate.moe_statics." in name:
            both = [tensor, text[name.replace(".text_moe.", ".vision_moe.")]]
            result[name.replace("text_moe.gate.", "")] = torch.cat(both)
        elif name.endswith("_moe.gate.weight"):
            other = "_1" if ".vision_moe." in name else ""
            result[name.split("mlp.")[0] + "mlp.gate.weight" + other] = tensor.T
        elif ".vision_moe.experts." in name:
            for part, values in per_expert()({name: tensor}, config).items():
                prefix, rest = part.split("vision_moe.experts.")
                number, rest = rest.split(".", 1)
                result[f"{prefix}experts.{int(number) + experts}.{rest}"] = values
        else:
            result |= per_expert(rename=lambda old: old.replace("text_moe.", ""))({name: tensor},
                                                                                   config)
    return result


PICTURES = {
    "ernie4_5_vl_moe": Family("Ernie4_5_VLMoeForConditionalGeneration", released=_ernie_released,
                              routers=_ernie_routers, choices=_ernie_choices, rope=no_rope),
    "glm4v_moe": Family("Glm4vMoeForConditionalGeneration", choices=biased_choices),
    "kimi_k25": Family("Kimi_K25ForConditionalGeneration", released=_kimi_released,
                       choices=biased_choices),
    "qwen3_vl_moe": Family("Qwen3VLMoeForConditionalGeneration", released=_qwen_released),
}
