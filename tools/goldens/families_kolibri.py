# SPDX-License-Identifier: Apache-2.0
"""Kolibri-1, Flint, Lara-4 Mini and Sarvam, by the names that published files have."""

import torch

from .families_latent import latent_draw
from .family import Family, biased_choices, by_key, per_expert


def _renamed(names):
    def rename(name):
        for old, new in names.items():
            name = name.replace(old, new)
        return name
    return rename


_KOLIBRI_NAMES = _renamed({"mlp.gate.e_score_correction_bias": "moe.router.expert_bias",
                           "post_self_attn_layernorm": "post_attn_norm",
                           "post_mlp_layernorm": "post_ffn_norm"})
_FLINT_NAMES = _renamed({"self_attn.sinks": "self_attn.softmax_offset"})
_SARVAM_NAMES = _renamed({"model.embed_tokens.": "model.word_embeddings.",
                          ".self_attn.o_proj.": ".attention.dense.",
                          ".self_attn.q_norm.": ".attention.query_layernorm.",
                          ".self_attn.k_norm.": ".attention.key_layernorm.",
                          ".mlp.gate.e_score_correction_bias": ".mlp.gate.expert_bias"})


def _kolibri_choices(module, inputs, output):
    """By logit plus bias, beside which sigmoids only weigh."""
    logits, weights, chosen = output
    return by_key(logits.float() + module.e_score_correction_bias, chosen, weights.float())


def _kolibri_draw(name, noise, config):
    return 0.8 * noise if name.endswith("correction_bias") else None


def _flint_choices(module, inputs, output):
    logits, weights, chosen = output
    return by_key(logits.float().sigmoid(), chosen, weights.float())


def _joined(weights, parts, whole):
    """The tensors that `parts` name as one, rows behind rows, whose name has `whole` in their place."""
    result = dict(weights)
    for name in weights:
        if parts[0] not in name:
            continue
        rows = [result.pop(name.replace(parts[0], part)) for part in parts]
        result[name.replace(parts[0], whole)] = torch.cat(rows)
    return result


def _sarvam_released(weights, config):
    parts = [f".self_attn.{kind}_proj." for kind in "qkv"]
    joined = _joined(weights, parts, ".attention.query_key_value.")
    return per_expert(rename=_SARVAM_NAMES)(joined, config)


def _lara_released(weights, config):
    """Experts of a layer are in one tensor, and what linear attention projects its input with."""
    parts = [f".in_proj_{kind}." for kind in ("qkv", "z", "b", "a")]
    joined = _joined(weights, parts, ".in_proj.")
    return {name.replace("linear_attn.norm.", "linear_attn.out_norm."): tensor
            for name, tensor in joined.items()}


def _lara_draw(name, noise, config):
    """States last some ten rows."""
    return noise - 1.5 if name.endswith("A_log") else None


KOLIBRI = {
    "flint": Family("FlintForCausalLM", released=per_expert(rename=_FLINT_NAMES),
                    choices=_flint_choices),
    "kolibri1": Family("Kolibri1ForCausalLM", released=per_expert(rename=_KOLIBRI_NAMES),
                       choices=_kolibri_choices, draw=_kolibri_draw),
    "lara_mini": Family("LaraMiniForCausalLM", released=_lara_released, draw=_lara_draw),
    "sarvam_mla": Family("SarvamMLAForCausalLM", choices=biased_choices, draw=latent_draw),
    "sarvam_moe": Family("SarvamMoEForCausalLM", released=_sarvam_released,
                         choices=biased_choices),
}
