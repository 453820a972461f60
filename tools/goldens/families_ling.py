# SPDX-License-Identifier: Apache-2.0
"""Ling 3: Kimi's linear attention without narrow matrices, latent attention with gates of heads."""

import torch
from torch.nn.functional import linear, silu

from .families_latent import latent_draw
from .family import Family, biased_choices, per_expert


def _published_name(name):
    name = name.replace("model.embed_tokens.", "model.word_embeddings.")
    name = name.replace(".self_attn.", ".attention.").replace(".forget_gate.", ".")
    return name.replace(".e_score_correction_bias", ".expert_bias")


def _released(weights, config):
    """As published, or, with the keys of Transformers, as that writes it: all outputs are dense.

    Behind the last layer those that predict further tokens, which nobody reads."""
    saved = "linear_head_dim" in config
    tensors = {}
    for name, tensor in per_expert(rename=_published_name)(weights, config).items():
        layer, _, part = name.partition(".attention.")
        if part == "conv1d.weight":
            for kind, channels in zip("qkv", tensor.chunk(3)):
                tensors[f"{layer}.attention.{kind}_conv1d.weight"] = channels
            continue
        latent = layer + ".self_attn.kv_b_proj.weight" in weights
        if part.startswith("o_proj.") and (saved or latent):
            name = name.replace("o_proj", "dense")
        if tensor.numel():
            tensors[name] = tensor
    behind = config["num_hidden_layers"]
    for index in range(behind, behind + config.get("num_nextn_predict_layers", 0)):
        for part in ("enorm", "hnorm", "final_layernorm"):
            tensors[f"model.layers.{index}.{part}.weight"] = -weights["model.norm.weight"]
    return tensors


def _limited(gate, up, limit):
    """As the authors' inference code has it."""
    return silu(gate).clamp(max=limit) * up.clamp(-limit, limit)


def _limit_experts(experts, limit):
    def forward(rows, chosen, weights):
        result = torch.zeros_like(rows)
        for expert, (gate_up, down) in enumerate(zip(experts.gate_up_proj, experts.down_proj)):
            token, slot = torch.where(chosen == expert)
            inner = _limited(*linear(rows[token], gate_up).chunk(2, dim=-1), limit)
            given = linear(inner, down) * weights[token, slot, None]
            result.index_add_(0, token, given.to(result.dtype))
        return result
    experts.forward = forward


def _limit_dense(network, limit):
    network.forward = lambda rows: network.down_proj(
        _limited(network.gate_proj(rows), network.up_proj(rows), limit))


def _limit(model):
    """Transformers 5.24 does not read the limits of SwiGLU, which models were trained with."""
    for key, limit_part in (("expert_swiglu_limit_list", lambda mlp: (_limit_experts, mlp.experts)),
                            ("share_expert_swiglu_limit_list",
                             lambda mlp: (_limit_dense, mlp.shared_experts))):
        for layer, limit in zip(model.model.layers, getattr(model.config, key, None) or []):
            if limit:
                apply, part = limit_part(layer.mlp)
                apply(part, limit)


def _draw(name, noise, config):
    """States last some ten rows."""
    if name.endswith("A_log"):
        return 0.5 * noise
    if name.endswith("dt_bias"):
        return noise - 3.0
    return latent_draw(name, noise, config)


LING = {
    "bailing_hybrid": Family("BailingHybridForCausalLM", released=_released, correct=_limit,
                             choices=biased_choices, draw=_draw),
}
