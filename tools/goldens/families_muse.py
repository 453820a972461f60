# SPDX-License-Identifier: Apache-2.0
"""Muse Spark: gates that mix the residual, norms of what heads and experts give; Muse Glimmer."""

from transformers import AutoModelForCausalLM
from transformers.models.muse_glimmer import (configuration_muse_glimmer,
                                              modeling_muse_glimmer)
from transformers.models.muse_spark import configuration_muse_spark, modeling_muse_spark

from .family import Family, by_key, dense, unchanged

# Transformers has them for pictures, sounds and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_muse_glimmer.MuseGlimmerConfig:
        modeling_muse_glimmer.MuseGlimmerForConditionalGeneration,
    configuration_muse_spark.MuseSparkConfig:
        modeling_muse_spark.MuseSparkForConditionalGeneration,
}

_USUAL = {"muse_glimmer": 0.19611613513818404, "muse_spark": 0.1767766952966369}


def _choices(module, inputs, output):
    logits, weights, chosen = output
    return by_key(logits.sigmoid() + module.e_score_correction_bias, chosen, weights)


def _draw(name, noise, config):
    """Norms multiply by 1 + weight, but the last; logits are multiplied with less than 1. With
    attention as sharp as released, gates that keep most of the residual keep rounding small."""
    if name.endswith("language_model.norm.weight"):
        return None
    if name.startswith("model.language_model.") and "norm" in name:
        return 0.25 * noise
    if name.endswith("residual_gate.gate"):
        return 0.3 * noise - 0.2
    if name.endswith("mlp.gate.weight") or name == "lm_head.weight":
        factor = config["text_config"].get("output_multiplier", _USUAL[config["model_type"]])
        return 1.2 / factor / noise.shape[-1] ** 0.5 * noise
    return None


MUSE = {
    "muse_glimmer": dense("MuseGlimmerForConditionalGeneration", released=unchanged, draw=_draw),
    "muse_spark": Family("MuseSparkForConditionalGeneration", released=unchanged,
                         choices=_choices, draw=_draw),
}
