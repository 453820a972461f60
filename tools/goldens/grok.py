# SPDX-License-Identifier: Apache-2.0
"""Grok-1, which Transformers does not know, by a published PyTorch implementation that is not ours.

FOLKMOOT_GROK names a folder with modeling_grok.py and configuration_grok.py of
https://github.com/Aqwu/grok-1-hf (commit 3d9a95fd; Apache-2.0), a port of the authors' JAX code
(https://github.com/xai-org/grok-1). That code was written for Transformers 4.38; what it asks for
and 5.17 has no more is put in its place here. config.json and tensors are those of the
conversion that is in use, hpcai-tech/grok-1; both implementations were read side by side and differ in
GELU: the authors' is approximated by tanh, which hidden_act says to the port.
"""

import os
import sys
from pathlib import Path

from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin
from transformers.utils import import_utils

from .family import Family, by_key

ROOT = os.environ.get("FOLKMOOT_GROK")

# Names of the port, and of the conversion.
_NAMES = (
    ("transformer.in_out_embed.", "model.embed_tokens."),
    ("transformer.rms_norm.weight", "model.norm.scale"),
    ("transformer.decoder_layer.", "model.layers."),
    (".multi_head_attention.query.", ".attn.q_proj."),
    (".multi_head_attention.key.", ".attn.k_proj."),
    (".multi_head_attention.value.", ".attn.v_proj."),
    (".multi_head_attention.linear.", ".attn.o_proj."),
    (".rms_norm.weight", ".pre_attn_norm.scale"),
    (".rms_norm_1.weight", ".post_attn_norm.scale"),
    (".rms_norm_2.weight", ".pre_moe_norm.scale"),
    (".rms_norm_3.weight", ".post_moe_norm.scale"),
    (".router.", ".moe_block.gate."),
    (".moe.", ".moe_block.experts."),
)


def _published(name):
    for port, conversion in _NAMES:
        name = name.replace(port, conversion)
    return name


def _classes():
    """The port's configuration and model, as a config.json of the conversion means them."""
    import_utils.is_torch_fx_available = lambda: False
    DynamicCache.get_usable_length = lambda self, new, layer=0: self.get_seq_length(layer)
    DynamicCache.from_legacy_cache = classmethod(lambda cls, cache: cls())
    DynamicCache.to_legacy_cache = lambda self: self
    sys.path.insert(0, ROOT)
    from configuration_grok import GrokConfig
    from modeling_grok import GrokForCausalLM

    class Grok1Config(GrokConfig):
        model_type = "grok-1"
        use_return_dict = True

        def __init__(self, num_experts=8, max_attn_value=30.0, **keys):
            keys |= {"hidden_act": "gelu_pytorch_tanh", "rope_theta": 1e4}
            super().__init__(num_local_experts=num_experts, **keys)

    class Grok1(GenerationMixin, GrokForCausalLM):
        config_class = Grok1Config
        _tied_weights_keys = {}

        def __init__(self, config):
            super().__init__(config)
            for layer in self.transformer.decoder_layer:
                layer.router.top_k = config.num_experts_per_tok
            if config.tie_word_embeddings:
                self.lm_head.weight = self.transformer.in_out_embed.weight

        @classmethod
        def from_pretrained(cls, directory, *unused, config=None, dtype=None, **others):
            model = cls(config or Grok1Config.from_pretrained(directory))
            stored = {}
            for file in Path(directory).glob("*.safetensors"):
                stored |= load_file(file)
            weights = {name: stored.pop(_published(name)).float() for name in model.state_dict()
                       if _published(name) in stored}
            missing, _ = model.load_state_dict(weights, strict=False)
            if model.config.tie_word_embeddings:
                missing = [name for name in missing if name != "lm_head.weight"]
            model.to(dtype)
            for layer in model.transformer.decoder_layer:
                layer.router.float()
            return model, {"missing_keys": missing, "unexpected_keys": list(stored),
                           "mismatched_keys": []}

    return Grok1Config, Grok1


def _choices(module, inputs, output):
    probabilities = output.float().softmax(-1)
    weights, chosen = probabilities.topk(module.top_k, dim=-1)
    return by_key(probabilities, chosen, weights)


def _draw(name, noise, config):
    if "norm" in name:
        return None
    if "embed" in name:  # beside what layers add, whose norms give 1
        return 0.5 / config.get("embedding_multiplier_scale", 78.38) * noise
    gain = 1.5 if ".moe." in name or "router" in name else 1.2
    return (2.5 if name == "lm_head.weight" else gain) / noise.shape[-1] ** 0.5 * noise


def _routers(model):
    return [(index, layer.router) for index, layer in enumerate(model.transformer.decoder_layer)]


def _rope(model):
    return model.transformer.decoder_layer[0].multi_head_attention.rotary_emb.inv_freq, 1.0


GROK = {"grok-1": Family("Grok1ModelForCausalLM", routers=_routers, choices=_choices, draw=_draw,
                         rope=_rope, released=lambda weights, config: {
                             _published(name): tensor for name, tensor in weights.items()})}

if ROOT:
    _Config, _Model = _classes()
    AutoConfig.register("grok-1", _Config)
    AutoModelForCausalLM.register(_Config, _Model)
