# SPDX-License-Identifier: Apache-2.0
"""Families with linear attention: Qwen3-Next, the text models of Qwen3.5, and Kimi Linear."""

import torch
from transformers import AutoModelForCausalLM
from transformers.models.qwen3_5 import configuration_qwen3_5, modeling_qwen3_5
from transformers.models.qwen3_5_moe import configuration_qwen3_5_moe, modeling_qwen3_5_moe

from .family import Family, biased_choices, dense, no_rope, per_expert, unchanged

# As released, below model.language_model: Transformers would read the text model alone.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_qwen3_5.Qwen3_5Config: modeling_qwen3_5.Qwen3_5ForConditionalGeneration,
    configuration_qwen3_5_moe.Qwen3_5MoeConfig:
        modeling_qwen3_5_moe.Qwen3_5MoeForConditionalGeneration,
}


def _draw(name, noise, config):
    """Norms multiply by 1 + weight, but for that of linear attention; states last some ten rows."""
    if name.endswith("norm.weight") and "visual." not in name:
        return (1.0 if "linear_attn." in name else 0.0) + 0.25 * noise
    if name.endswith("A_log"):
        return noise - 1.5
    return None


def _kimi_draw(name, noise, config):
    return noise - 1.5 if name.endswith("A_log") else None


def _with_prediction(released):
    """A tensor of the model for multi-token prediction beside the others: not read."""
    def more(weights, config):
        tensors = released(weights, config)
        hidden = next(t for name, t in weights.items() if name.endswith("input_layernorm.weight"))
        return tensors | {"mtp.norm.weight": torch.ones_like(hidden)}
    return more


def _experts_of_state(weights, config):
    """All experts of a layer in one tensor, as in the state dict, or, for one variant, apart."""
    text = config.get("text_config", config)
    return (per_expert() if text["num_experts"] == 5 else unchanged)(weights, config)


def _kimi_name(name):
    """As released: a block of experts has a name of its own, a dense network has not."""
    name = name.replace(".forget_gate.", ".")
    moe = any(part in name for part in (".mlp.experts.", ".mlp.gate.", ".mlp.shared_experts."))
    return name.replace(".mlp.", ".block_sparse_moe.") if moe else name


def _kimi_saved_name(name):
    """As Transformers writes it: every network is a block of experts."""
    return name.replace(".forget_gate.", ".").replace(".mlp.", ".block_sparse_moe.")


def _kimi_released(weights, config):
    result = {}
    rename = _kimi_saved_name if "transformers_version" in config else _kimi_name
    for name, tensor in per_expert(("w1", "w3", "w2"), rename)(weights, config).items():
        if not name.endswith(".conv1d.weight"):
            result[name] = tensor
            continue
        for kind, part in zip("qkv", tensor.chunk(3)):
            result[name.replace(".conv1d.", f".{kind}_conv1d.")] = part
    return result


LINEAR = {
    "kimi_linear": Family("KimiLinearForCausalLM", released=_kimi_released, draw=_kimi_draw,
                          choices=biased_choices, rope=no_rope),
    "qwen3_next": Family("Qwen3NextForCausalLM", released=_with_prediction(per_expert()),
                         draw=_draw),
    "qwen3_5_moe": Family("Qwen3_5MoeForConditionalGeneration",
                          released=_with_prediction(_experts_of_state), draw=_draw),
    "qwen3_5_moe_text": Family("Qwen3_5MoeForCausalLM",
                               released=_with_prediction(_experts_of_state), draw=_draw),
    "qwen3_5_text": dense("Qwen3_5ForCausalLM", released=_with_prediction(unchanged), draw=_draw),
    "qwen3_5": dense("Qwen3_5ForConditionalGeneration", released=_with_prediction(unchanged),
                     draw=_draw),
}
