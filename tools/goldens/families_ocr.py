# SPDX-License-Identifier: Apache-2.0
"""Text models of families that read pages: DeepSeek-OCR 2 and Unlimited-OCR."""

import re

import torch
from transformers import AutoModelForCausalLM
from transformers.models.deepseek_ocr2 import configuration_deepseek_ocr2, modeling_deepseek_ocr2
from transformers.models.unlimited_ocr import configuration_unlimited_ocr, modeling_unlimited_ocr

from .families_latent import greedy_choices
from .family import Family, per_expert

# Transformers has them for pictures and text only, and `register` leaves its own classes alone.
AutoModelForCausalLM._model_mapping._extra_content |= {
    configuration_deepseek_ocr2.DeepseekOcr2Config:
        modeling_deepseek_ocr2.DeepseekOcr2ForConditionalGeneration,
    configuration_unlimited_ocr.UnlimitedOcrConfig:
        modeling_unlimited_ocr.UnlimitedOcrForConditionalGeneration,
}

_NAMES = [(r"^model\.language_model\.", "model."), (r"\.view_separator", ".view_seperator"),
          (r"\.multi_modal_projector\.", ".projector.layers.")]


def _released(weights, config):
    """The authors' names, without the encoders of pages, but with what stands between those and the
    text."""
    tensors = {}
    for name, tensor in weights.items():
        if ".vision_tower." in name:
            continue
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        tensors[name] = tensor
    return per_expert()(tensors, config)


@torch.no_grad()
def _beside_prompt(model, token_ids, prompt_length):
    """Logits of an uncached forward whose windows keep the prompt, as those of a cache do."""
    window = model.config.get_text_config().sliding_window
    query = torch.arange(len(token_ids))[:, None]
    key = torch.arange(len(token_ids))[None]
    hidden = torch.finfo(torch.float32).min
    masks = {}
    for kind, seen in (("full_attention", key <= query),
                       ("reference_sliding_attention",
                        (key <= query) & ((key < prompt_length) | (key > query - window)))):
        masks[kind] = torch.where(seen, 0.0, hidden)[None, None]
    return model(torch.tensor([token_ids]), attention_mask=masks, use_cache=False).logits[0].float()


OCR = {
    "deepseek_ocr2": Family("DeepseekOcr2ForConditionalGeneration", released=_released,
                            choices=greedy_choices),
    "unlimited_ocr": Family("UnlimitedOcrForConditionalGeneration", released=_released,
                            choices=greedy_choices, by_prompt=_beside_prompt),
}
