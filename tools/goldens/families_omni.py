# SPDX-License-Identifier: Apache-2.0
"""The text model of Qwen3-Omni, which stands in its thinker."""

from transformers import AutoModelForCausalLM
from transformers.models.qwen3_omni_moe import configuration_qwen3_omni_moe as configuration
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

from .family import Family, is_of_text, per_expert


class _Thinker(modeling.Qwen3OmniMoeThinkerForConditionalGeneration):
    """The thinker alone, from the files of the whole."""
    __module__ = modeling.__name__  # or Transformers would not convert tensors of experts
    config_class = configuration.Qwen3OmniMoeConfig

    def __init__(self, config):
        super().__init__(getattr(config, "thinker_config", config))


_Thinker.__name__ = _Thinker.__base__.__name__  # since 5.24 it renames tensors by that

AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration.Qwen3OmniMoeConfig: _Thinker,
}


def _released(weights, config):
    """Without what looks and listens."""
    text = {f"thinker.{name.replace('model.language_model.', 'model.')}": tensor
            for name, tensor in weights.items() if is_of_text(name)}
    return per_expert()(text, config)


_FAMILY = Family("Qwen3OmniMoeForConditionalGeneration", released=_released)
OMNI = {"qwen3_omni_moe": _FAMILY, "qwen3_omni_moe_thinker": _FAMILY}
