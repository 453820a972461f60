# SPDX-License-Identifier: Apache-2.0
"""The families by model_type; those of a group are in families_<group>.py and joined below."""

from .families_2026 import LATEST
from .families_beam import BEAM
from .families_compressed import COMPRESSED
from .families_dots3 import DOTS3
from .families_gemma4 import GEMMA4
from .families_glm5 import GLM5
from .families_hunyuan4 import HUNYUAN4
from .families_hybrid import GRANITE_NAMES, HYBRID, granite_choices
from .families_inkling import INKLING
from .families_inkling2 import INKLING2
from .families_kolibri import KOLIBRI
from .families_latent import LATENT
from .families_lightning import LIGHTNING
from .families_linear import LINEAR
from .families_ling import LING
from .families_mistral_large import MISTRAL_LARGE
from .families_more import MORE
from .families_muse import MUSE
from .families_ocr import OCR
from .families_omni import OMNI
from .families_other import OTHER
from .families_pictures import PICTURES
from .families_qwen4 import QWEN4
from .families_recent import RECENT
from .families_sparse import SPARSE
from .families_zaya import ZAYA
from .family import Family, dense, no_rope, per_expert, renamed, routers_at
from .grok import GROK


def _gemma_draw(name, noise, config):
    """Norms multiply by 1 + weight; embeddings by the root of their width, which must not rule."""
    if "norm" in name:
        after = config["model_type"] != "gemma" and ".post_" in name
        return (1.0 if after else 0.0) + 0.25 * noise
    if "embed_tokens" in name:
        return 1.3 / noise.shape[1] ** 0.5 * noise
    return None


def _granite(architecture):
    return Family(architecture, released=renamed(GRANITE_NAMES), choices=granite_choices,
                  routers=routers_at("block_sparse_moe.router"))


FAMILIES = {
    "granitemoe": _granite("GraniteMoeForCausalLM"),
    "granitemoeshared": _granite("GraniteMoeSharedForCausalLM"),
    "mixtral": Family(
        "MixtralForCausalLM",
        released=per_expert(("w1", "w3", "w2"),
                            lambda name: name.replace(".mlp.", ".block_sparse_moe."))),
    "olmoe": Family("OlmoeForCausalLM"),
    "qwen2_moe": Family("Qwen2MoeForCausalLM"),
    "qwen3_moe": Family("Qwen3MoeForCausalLM"),
    "llama": dense("LlamaForCausalLM"),
    "qwen2": dense("Qwen2ForCausalLM"),
    "qwen3": dense("Qwen3ForCausalLM"),
    "gemma": dense("GemmaForCausalLM", draw=_gemma_draw),
    "gemma2": dense("Gemma2ForCausalLM", draw=_gemma_draw),
    # Layers that slide and those that do not have different frequencies.
    "gemma3_text": dense("Gemma3ForCausalLM", draw=_gemma_draw, rope=no_rope),
    **BEAM,
    **COMPRESSED,
    **DOTS3,
    **GEMMA4,
    **GLM5,
    **GROK,
    **HUNYUAN4,
    **HYBRID,
    **INKLING,
    **INKLING2,
    **KOLIBRI,
    **LATENT,
    **LATEST,
    **LIGHTNING,
    **LINEAR,
    **LING,
    **MISTRAL_LARGE,
    **MORE,
    **MUSE,
    **OCR,
    **OMNI,
    **OTHER,
    **PICTURES,
    **QWEN4,
    **RECENT,
    **SPARSE,
    **ZAYA,
}
