# SPDX-License-Identifier: Apache-2.0
"""Families whose routers are not plain softmax: gpt-oss, GLM-4.5, MiniMax-M2, Phi-3.5-MoE."""

import torch
from transformers.models.phimoe.modeling_phimoe import PhimoeRotaryEmbedding

from . import mxfp4
from .family import Family, argued_choices, biased_choices, by_key, per_expert, routers_at


# gpt-oss: matrices of experts are [E, in, out] on disk and in memory.

def _gpt_oss_draw(name, noise, config):
    if name.endswith("gate_up_proj_bias"):  # some gates and values beyond the clamp at 7
        return 3.0 * noise
    if name.endswith(("gate_up_proj", "down_proj")):
        drawn = 1.5 / noise.shape[-2] ** 0.5 * noise
        if "quantization_config" in config:
            drawn = mxfp4.unpack(mxfp4.pack(drawn.transpose(1, 2)))
        return drawn
    return None


def _gpt_oss_released(weights, config):
    if "quantization_config" not in config:
        return weights
    result = {}
    for name, tensor in weights.items():
        if name.endswith(("gate_up_proj", "down_proj")):
            parts = mxfp4.pack(tensor.transpose(1, 2))
            result |= {f"{name}_{part}": codes for part, codes in parts.items()}
        else:
            result[name] = tensor
    return result


# GLM-4.5

def _with_mtp(weights, config):
    """Published checkpoints end with layers that predict further tokens."""
    result = per_expert()(weights, config)
    first, hidden = config["num_hidden_layers"], config["hidden_size"]
    last = f"model.layers.{first - 1}."
    for extra in range(config.get("num_nextn_predict_layers", 0)):
        prefix = f"model.layers.{first + extra}."
        layer = {prefix + name.removeprefix(last): tensor for name, tensor in result.items()
                 if name.startswith(last)}
        norm = layer[prefix + "input_layernorm.weight"]
        result |= {name: tensor.clone() for name, tensor in layer.items()}
        result |= {prefix + name: norm.clone() for name in
                   ("enorm.weight", "hnorm.weight", "shared_head.norm.weight")}
        result[prefix + "eh_proj.weight"] = norm.repeat(hidden, 2)
    return result


# MiniMax-M2

def _minimax_m2_correct(model):
    """The authors rotate `rotary_dim` dimensions of a head; Transformers 5.17 ignores the key."""
    model.generation_config.use_mtp = None  # published with true, but without the tensors
    dims = getattr(model.config, "rotary_dim", None)
    if dims is not None:
        model.config.rope_parameters.setdefault("partial_rotary_factor",
                                                dims / model.config.head_dim)
        model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config)


def _mixtral_names(name):
    return name.replace(".mlp.", ".block_sparse_moe.")


# Phi-3.5-MoE

def _phimoe_choices(module, inputs, output):
    """The greatest logit, then the greatest of the rest; which others count is a decision too."""
    logits, weights, chosen = output
    scores = logits.float()
    threshold, margins = 2 * module.router_jitter_noise, []
    for taken in (None, chosen[:, :1]):
        rest = scores if taken is None else scores.scatter(-1, taken, float("-inf"))
        best = rest.max(-1, keepdim=True).values
        ratio = (best - rest) / torch.maximum(scores.abs(), best)
        margins.append((ratio - threshold).abs().masked_fill(ratio == 0, 1.0).min(-1).values)
    return by_key(scores.softmax(-1), chosen, weights.float(), torch.minimum(*margins))


class _PhimoeRotary(PhimoeRotaryEmbedding):
    """The authors' rule: long factors too, not only the long mscale, beyond the first context."""

    def forward(self, x, position_ids=None):
        length, scaling = int(position_ids.max()) + 1, 1.0
        if self.rope_type == "longrope":
            parameters = self.config.rope_parameters
            long = length > parameters["original_max_position_embeddings"]
            scaling = parameters["long_mscale" if long else "short_mscale"]
        self.inv_freq = self.rope_init_fn(self.config, seq_len=length)[0]
        self.attention_scaling = scaling
        angles = position_ids[..., None].float() * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        return (angles.cos() * scaling).to(x.dtype), (angles.sin() * scaling).to(x.dtype)


def _phimoe_correct(model):
    model.model.rotary_emb = _PhimoeRotary(config=model.config)


def _phimoe_names(name):
    return _mixtral_names(name).replace(".router.", ".gate.")


RECENT = {
    "glm4_moe": Family("Glm4MoeForCausalLM", released=_with_mtp, choices=biased_choices),
    "gpt_oss": Family("GptOssForCausalLM", released=_gpt_oss_released,
                      routers=routers_at("mlp.router"), draw=_gpt_oss_draw),
    "minimax_m2": Family("MiniMaxM2ForCausalLM",
                         released=per_expert(("w1", "w3", "w2"), _mixtral_names),
                         choices=argued_choices, correct=_minimax_m2_correct),
    "phimoe": Family("PhiMoEForCausalLM", released=per_expert(("w1", "w3", "w2"), _phimoe_names),
                     routers=routers_at("mlp.router"), choices=_phimoe_choices,
                     correct=_phimoe_correct),
}
