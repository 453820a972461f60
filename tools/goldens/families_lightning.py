# SPDX-License-Identifier: Apache-2.0
"""MiniMax-Text-01 and M1, with the keys of Transformers and with the authors'.

What is put in its place here: Transformers 5.17 turns whole heads where the authors turn
`rotary_dim` numbers of each, asks the first layer how long the cache is, which that of lightning
attention does not know, and counts what is made of the configuration alone among the weights.
"""

from transformers import AutoConfig, AutoModelForCausalLM, conversion_mapping
from transformers.models.minimax import MiniMaxConfig, MiniMaxForCausalLM, modeling_minimax
from transformers.models.minimax_m2 import modeling_minimax_m2

from .family import Family, per_expert

_BUFFERS = ("slope_rate", "query_decay", "key_decay", "diagonal_decay")
_AUTHORS_KEYS = {"layernorm_full_attention_alpha": "full_attn_alpha_factor",
                 "layernorm_full_attention_beta": "full_attn_beta_factor",
                 "layernorm_linear_attention_alpha": "linear_attn_alpha_factor",
                 "layernorm_linear_attention_beta": "linear_attn_beta_factor",
                 "layernorm_mlp_alpha": "mlp_alpha_factor",
                 "layernorm_mlp_beta": "mlp_beta_factor"}


class _Lightning(modeling_minimax.MiniMaxLightningAttention):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self._non_persistent_buffers_set |= set(_BUFFERS)


def _seq_length(self, layer_idx=0):
    return max((layer.get_seq_length() for layer in self.layers), default=0)


modeling_minimax.MiniMaxLightningAttention = _Lightning
modeling_minimax.MiniMaxPreTrainedModel._keys_to_ignore_on_load_unexpected = [
    rf"self_attn\.{name}$" for name in _BUFFERS]
modeling_minimax.MiniMaxCache.get_seq_length = _seq_length
modeling_minimax.MiniMaxCache.get_mask_sizes = (
    lambda self, query_length, layer_idx: (_seq_length(self) + query_length, 0))
modeling_minimax.apply_rotary_pos_emb = modeling_minimax_m2.apply_rotary_pos_emb


def _of_authors(of_type, architecture):
    """A configuration and a model of this model_type, whose keys are the authors'."""
    class Config(MiniMaxConfig):
        model_type = of_type

        @classmethod
        def from_dict(cls, keys, **others):
            keys = {_AUTHORS_KEYS.get(key, key): value for key, value in keys.items()}
            kinds = {0: "linear_attention", 1: "full_attention"}
            keys["layer_types"] = [kinds[kind] for kind in keys["attn_type_list"]]
            return super().from_dict(keys, **others)

    class MiniMaxOfAuthors(MiniMaxForCausalLM):  # generate() knows its cache by its name
        config_class = Config

    AutoConfig.register(of_type, Config)
    AutoModelForCausalLM.register(Config, MiniMaxOfAuthors)
    conversion_mapping.register_checkpoint_conversion_mapping(
        of_type, conversion_mapping.get_checkpoint_conversion_mapping("mixtral"))
    return _family(architecture)


def _correct(model):
    config = model.config
    dims = getattr(config, "rotary_dim", None)
    if dims is not None:
        config.rope_parameters.setdefault("partial_rotary_factor", dims / config.head_dim)
    model.model.rotary_emb = modeling_minimax_m2.MiniMaxM2RotaryEmbedding(config=config)


def _released(weights, config):
    """As published, and what Transformers writes beside it where blocks are small."""
    result = per_expert(("w1", "w3", "w2"),
                        lambda name: name.replace(".mlp.", ".block_sparse_moe."))(weights, config)
    if config.get("block_size", 256) > 8:
        return result
    model = MiniMaxForCausalLM(MiniMaxConfig.from_dict(config))
    return result | {name: buffer.clone() for name, buffer in model.named_buffers()
                     if name.endswith(_BUFFERS)}


def _family(architecture):
    return Family(architecture, released=_released, correct=_correct)


LIGHTNING = {
    "minimax": _family("MiniMaxForCausalLM"),
    "minimax_text_01": _of_authors("minimax_text_01", "MiniMaxText01ForCausalLM"),
    "minimax_m1": _of_authors("minimax_m1", "MiniMaxM1ForCausalLM"),
}
