# SPDX-License-Identifier: Apache-2.0
"""Text models inside of multimodal ones: GLM-4.5V, Kimi-K2.5 and Qwen3-VL with experts."""

from transformers import AutoModelForCausalLM
from transformers.models.glm4v_moe import configuration_glm4v_moe, modeling_glm4v_moe
from transformers.models.kimi_k25 import configuration_kimi_k25, modeling_kimi_k25
from transformers.models.qwen3_vl_moe import configuration_qwen3_vl_moe, modeling_qwen3_vl_moe

from .family import Family, biased_choices, is_of_text, per_expert

# Transformers has them for pictures and text only, and `register` leaves its own classes alone.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_glm4v_moe.Glm4vMoeConfig: modeling_glm4v_moe.Glm4vMoeForConditionalGeneration,
    configuration_kimi_k25.Kimi_K25Config: modeling_kimi_k25.Kimi_K25ForConditionalGeneration,
    configuration_qwen3_vl_moe.Qwen3VLMoeConfig:
        modeling_qwen3_vl_moe.Qwen3VLMoeForConditionalGeneration,
}


def _routers(model):
    return [(index, module) for index, layer in enumerate(model.model.language_model.layers)
            for name, module in layer.named_modules() if name == "mlp.gate"]


def _rope(model):
    rope = model.model.language_model.rotary_emb
    return rope.inv_freq, rope.attention_scaling


def _kimi_names(name):
    return (name.replace("model.language_model.", "language_model.model.")
            .replace("lm_head.", "language_model.lm_head."))


def _kimi_released(weights, config):
    """Without what looks at pictures."""
    text = {name: tensor for name, tensor in weights.items() if is_of_text(name)}
    return per_expert(rename=_kimi_names)(text, config)


def _qwen_released(weights, config):
    """With it; matrices of experts are [E, in, out]."""
    return {name: tensor.transpose(1, 2) if ".mlp.experts." in name else tensor
            for name, tensor in weights.items()}


PICTURES = {
    "glm4v_moe": Family("Glm4vMoeForConditionalGeneration", routers=_routers,
                        choices=biased_choices, rope=_rope),
    "kimi_k25": Family("Kimi_K25ForConditionalGeneration", released=_kimi_released,
                       routers=_routers, choices=biased_choices, rope=_rope),
    "qwen3_vl_moe": Family("Qwen3VLMoeForConditionalGeneration", released=_qwen_released,
                           routers=_routers, rope=_rope),
}
