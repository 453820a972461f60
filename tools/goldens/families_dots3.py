# SPDX-License-Identifier: Apache-2.0
"""dots3.note: published files have one tensor per expert, and what looks and listens beside."""

from transformers import AutoModelForCausalLM
from transformers.models.dots3_note import configuration_dots3_note, modeling_dots3_note

from .families_latent import latent_draw, latent_released
from .families_sparse import watch_indexers
from .family import Family, biased_choices, is_of_text, no_rope, per_expert, text_of

# Transformers takes the text model alone for it otherwise.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_dots3_note.Dots3NoteConfig:
        modeling_dots3_note.Dots3NoteForConditionalGeneration,
}

watch_indexers("index_topk", modeling_dots3_note.Dots3NoteTextIndexer)

# Published names of what is beside the text: a tensor of each part is enough.
_BESIDE = {
    "model.vision_tower.norm.weight": "vision_encoder.post_trunk_norm.weight",
    "model.audio_tower.layer_norm.weight":
        "audio_encoder.dots_encoder.speech_encoder.layer_norm.weight",
    "model.audio_tower.adapter.norm.weight": "audio_encoder.audio_adapter.proj.0.weight",
}


def _published(name):
    return name.replace("model.language_model.", "model.")


def _released(weights, config):
    """As published, with embeddings for what predicts a second token: not read."""
    text = {name: tensor for name, tensor in weights.items() if is_of_text(name)}
    tensors = per_expert(rename=_published)(text, config)
    tensors |= {new: weights[old] for old, new in _BESIDE.items()}
    return tensors | {"model.mtp.embed_tokens.weight": -tensors["model.embed_tokens.weight"]}


def _indexers(model):
    return [layer.self_attn.indexer for layer in text_of(model).layers
            if layer.self_attn.indexer is not None]


def _family(architecture, released):
    return Family(architecture, released=released, choices=biased_choices, choosers=_indexers,
                  rope=no_rope, draw=latent_draw)


DOTS3 = {
    "dots3_note": _family("Dots3NoteForConditionalGeneration", _released),
    "dots3_note_text": _family("Dots3NoteForCausalLM", latent_released),
}
