# SPDX-License-Identifier: Apache-2.0
"""Inkling 2 and its looped form: published files have names of their own, queries of all layers
beside each other, and gate and up rows that take turns."""

import re

import torch
from transformers import AutoModelForCausalLM
from transformers.models.inkling2 import configuration_inkling2, modeling_inkling2
from transformers.models.inkling2_loop import (
    configuration_inkling2_loop, modeling_inkling2_loop,
)

from .family import Family, by_key, is_of_text, no_rope

# Transformers has them for pictures and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_inkling2.Inkling2Config: modeling_inkling2.Inkling2ForConditionalGeneration,
    configuration_inkling2_loop.Inkling2LoopConfig:
        modeling_inkling2_loop.Inkling2LoopForConditionalGeneration,
}

# In this order.
_PARTS = {
    "lm_head.weight": "model.llm.unembed.weight",
    "embed_tokens.embed_norm": "embed_norm", "embed_tokens": "embed",
    "final_input.query": "attn_res.output_query",
    "self_attn.q_proj.linear": "attn.wq_du", "self_attn.k_proj.linear": "attn.wk_dv",
    "self_attn.v_proj.linear": "attn.wv_dv", "self_attn.o_proj.linear": "attn.wo_ud",
    "self_attn.o_proj.gate_proj": "attn.gate_attn", "self_attn.sink_proj": "attn.attn_sink_proj",
    "self_attn.q_proj.norm": "attn.q_l2_clip",
    "self_attn.relative_position_bias.linear": "attn.wr_du",
    "self_attn.relative_position_bias.norm": "attn.rel_l2_clip",
    "self_attn.relative_position_bias.proj": "attn.rel_logits_proj.proj",
    "self_attn.k_proj.sconv": "attn.k_sconv", "self_attn.v_proj.sconv": "attn.v_sconv",
    "post_attention_convolution": "attn_sconv", "post_mlp_convolution": "mlp_sconv",
    "sconv.conv1d": "sconv", "static_weight": "static_w",
    "sconv.weight_proj.weight": "sconv.weight_proj",
    "post_attention_layernorm": "mlp_norm", "_input_layernorm": "_input_norm",
    "input_layernorm": "attn_norm",
    "mlp.experts.gate_up_proj": "mlp.experts.w13_weight",
    "mlp.experts.down_proj": "mlp.experts.w2_weight",
    "mlp.gate.e_score_correction_bias": "mlp.gate.bias",
    "q_message_gate": "controllers.attn", "k_message_gate": "controllers.k",
    "v_message_gate": "controllers.v", "mlp_message_gate": "controllers.mlp",
    "forget_gate_proj.weight": "forget_weight", "message_gate_proj.weight": "gain_weight",
    "down_proj.weight": "down_weight",
}


def _published(name):
    """By the authors' name; queries of attention begin with the second layer."""
    name = re.sub(r"^model\.(language_model\.)?", "model.llm.", name)
    name = re.sub(r"layers\.(\d+)\.attention_input\.query",
                  lambda found: f"attn_res.attn_queries.{int(found[1]) - 1}", name)
    name = re.sub(r"layers\.(\d+)\.mlp_input\.query", r"attn_res.mlp_queries.\1", name)
    for old, new in _PARTS.items():
        name = name.replace(old, new)
    return name


def _padded(weights, config):
    """The names of Transformers, and the head padded to the vocabulary with what nobody reads."""
    text = config.get("text_config", config)
    weights = {name: tensor for name, tensor in weights.items() if is_of_text(name)}
    head = weights["lm_head.weight"]
    rest = torch.ones(text["vocab_size"] - head.shape[0], head.shape[1])
    return weights | {"lm_head.weight": torch.cat([head, rest])}


def _released(weights, config):
    """As published, with a tensor of the part for pictures.

    Files whose text_config says what it is have the names of Transformers."""
    text = _padded(weights, config)
    if "model_type" in config["text_config"]:
        return text
    width = config["vision_config"]["hidden_size"]
    result = {"model.visual.backbone.ln_pre.weight": torch.ones(width)}
    for name, tensor in text.items():
        if name.endswith(".experts.gate_up_proj"):
            tensor = torch.stack(tensor.chunk(2, dim=1), dim=-2).flatten(1, 2)
        if name.endswith("message_input.query"):
            stem = "model.llm.middle_cycle_cross_pass_"
            result[stem + "queries"] = tensor[:, [0, 3]].flatten(0, 1)
            result[stem + "kv_queries"] = tensor[:, [1, 2]].flatten(0, 1)
            continue
        result[_published(name)] = tensor
    return result


def _choices(module, inputs, output):
    logits, weights, chosen = output
    return by_key(logits.float().sigmoid() + module.e_score_correction_bias, chosen,
                  weights.float())


def _draw(name, noise, config):
    """Queries meet normalised rows; taps are small beside one, which is added to them; gates of
    messages are small, or rounding grows from pass to pass."""
    if name.endswith(("forget_gate_proj.weight", "message_gate_proj.weight")):
        return 0.45 / noise.shape[-1] ** 0.5 * noise
    if name.endswith("_input.query"):
        return 1.2 * noise
    if name.endswith("static_weight"):
        return 0.5 * noise
    if name.endswith("sconv.weight_proj.weight"):
        return 0.6 / noise.shape[-1] ** 0.5 * noise
    if name.endswith("relative_position_bias.proj"):
        return 1.3 / noise.shape[0] ** 0.5 * noise
    if name.endswith(("q_proj.linear.weight", "k_proj.linear.weight")):
        return 1.6 / noise.shape[-1] ** 0.5 * noise
    return None


def _visits(model, layer):
    """What runs again has its cache, and its place among all layers, behind the others."""
    config = model.config.get_text_config()
    first, end = config.loop_layer_index_start, config.loop_layer_index_end
    if not first <= layer < end:
        return [layer]
    behind = [config.num_hidden_layers + again * (end - first) + layer - first
              for again in range(config.loop_num_passes - 1)]
    return [layer, *behind]


def _family(architecture, released, **more):
    return Family(architecture, released=released, choices=_choices, rope=no_rope, draw=_draw,
                  **more)


INKLING2 = {
    "inkling2": _family("Inkling2ForConditionalGeneration", _released),
    "inkling2_text": _family("Inkling2ForCausalLM", _padded),
    "inkling2_loop": _family("Inkling2LoopForConditionalGeneration", _released, visits=_visits),
    "inkling2_loop_text": _family("Inkling2LoopForCausalLM", _padded, visits=_visits),
}
