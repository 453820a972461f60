# SPDX-License-Identifier: Apache-2.0
"""Inkling: published files have names of their own, and gate and up rows that take turns."""

import torch
from transformers import AutoModelForCausalLM
from transformers.models.inkling import configuration_inkling, modeling_inkling

from .family import Family, by_key, is_of_text, no_rope, unchanged

# Transformers has it for pictures, sounds and text only.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_inkling.InklingConfig: modeling_inkling.InklingForConditionalGeneration,
}

_ENDS = {
    "model.language_model.embed_tokens.weight": "model.llm.embed.weight",
    "model.language_model.embed_norm.weight": "model.llm.embed_norm.weight",
    "model.language_model.embed_tokens.embed_norm.weight": "model.llm.embed_norm.weight",
    "model.language_model.norm.weight": "model.llm.norm.weight",
    "lm_head.weight": "model.llm.unembed.weight",
}
_PARTS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "mlp_norm",
    "self_attn.q_proj": "attn.wq_du", "self_attn.k_proj": "attn.wk_dv",
    "self_attn.v_proj": "attn.wv_dv", "self_attn.r_proj": "attn.wr_du",
    "self_attn.o_proj": "attn.wo_ud", "self_attn.": "attn.", "sconv.conv1d": "sconv",
    "mlp.experts.gate_up_proj": "mlp.experts.w13_weight",
    "mlp.experts.down_proj": "mlp.experts.w2_weight",
    "mlp.shared_experts.down_proj": "mlp.shared_experts.shared_w2_weight",
    "mlp.down_proj": "mlp.w2_md", "mlp.gate.e_score_correction_bias": "mlp.gate.bias",
}


def _taking_turns(gate, up):
    """Rows of both, one after the other: of matrices, or of matrices of experts."""
    return torch.stack((gate, up), dim=-2).flatten(-3, -2)


def _released(weights, config):
    """As published, with a tensor each of the parts for pictures, sounds and further tokens.

    Transformers, whose files say what text_config is, saves modules by their own names."""
    text = {name: tensor for name, tensor in weights.items() if is_of_text(name)}
    if "model_type" in config["text_config"]:
        return text
    width = config["text_config"]["hidden_size"]
    result = {"model.visual.final_norm.weight": torch.ones(width),
              "model.audio.final_norm.weight": torch.ones(width),
              "model.mtp.layers.0.input_proj.weight": torch.ones(4, 8)}
    for name, tensor in text.items():
        if "up_proj" in name and ".experts." not in name:  # beside its gate
            continue
        new = _ENDS.get(name, name.replace("model.language_model.", "model.llm."))
        if name.endswith(".experts.gate_up_proj"):
            tensor = _taking_turns(*tensor.chunk(2, dim=1))
        elif "gate_proj" in name:
            tensor = _taking_turns(tensor, weights[name.replace("gate_proj", "up_proj")])
            new = new.replace("mlp.gate_proj", "mlp.w13_dn")
            new = new.replace("shared_experts.gate_proj", "shared_experts.shared_w13_weight")
        for old, published in _PARTS.items():
            new = new.replace(old, published)
        result[new] = tensor
    return result


def _choices(module, inputs, output):
    logits, weights, chosen, _ = output
    keys = logits.float().sigmoid() + module.e_score_correction_bias
    return by_key(keys, chosen, weights.float())


def _correct(model):
    """Transformers 5.17 normalises embeddings of the whole model again in its text model, which
    later versions do not (huggingface/transformers#48786): 5.24 has the norm in the embedding."""
    text = getattr(model.model, "language_model", None)
    if not hasattr(text, "embed_norm"):
        return
    inside, norm = [False], text.embed_norm.forward
    text.embed_norm.forward = lambda rows: rows if inside[0] else norm(rows)
    text.register_forward_pre_hook(lambda *unused: inside.__setitem__(0, True))
    text.register_forward_hook(lambda *unused: inside.__setitem__(0, False))


def _draw(name, noise, config):
    """Scores are divided by the length of heads, and logits by the multiplier: draws undo that."""
    text = config.get("text_config", config)
    if name.endswith((".q_norm.weight", ".k_norm.weight")):
        return 1.7 + 0.4 * noise
    if name.endswith("rel_logits_proj.proj"):
        return 1.3 / noise.shape[0] ** 0.5 * noise
    if name.endswith("global_scale"):
        return 1.0 + 0.2 * noise
    if name == "lm_head.weight":
        multiplier = text.get("logits_mup_width_multiplier", 24.0)
        return 1.5 * multiplier / noise.shape[-1] ** 0.5 * noise
    return None


def _family(architecture, released):
    return Family(architecture, released=released, choices=_choices,
                  rope=no_rope, correct=_correct, draw=_draw)


INKLING = {
    "inkling_mm_model": _family("InklingForConditionalGeneration", _released),
    "inkling_text": _family("InklingForCausalLM", unchanged),
}
