# SPDX-License-Identifier: Apache-2.0
"""What a golden variant is.

A variant is what stands in config.json (written as it is here, so absent keys stay absent) plus how
the checkpoint lies on disk. `matters` lists changes of config.json that must change the
log-probabilities: a golden that an engine passes while it ignores a key is worth nothing.
"""

from dataclasses import dataclass, field

DELETE = "<delete>"

# Vocabulary 96, hidden 32: about 20-30 thousand parameters per checkpoint.
BASE = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
}


@dataclass
class Variant:
    name: str
    model_type: str
    description: str
    config: dict
    dtype: str = "F32"
    packed: bool = False
    shard_bytes: int = 0  # 0: one file
    prompts: tuple = (1, 7, 40)
    greedy_prompt: int = 6
    matters: list = field(default_factory=list)


def inner(usual, changes):
    """The keys of an object inside of config.json, without those that are deleted."""
    return {key: value for key, value in (usual | changes).items() if value != DELETE}


def variants_of(family, base, prefix=None, **usual):
    """Makes variants of one family out of their own names, descriptions, changes of `base` and
    fields."""
    def make(name, description, config, **fields):
        return Variant(f"{prefix or family}-{name}", family, description, base | config,
                       **usual | fields)
    return make
