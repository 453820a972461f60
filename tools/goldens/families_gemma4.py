# SPDX-License-Identifier: Apache-2.0
"""Gemma 4, alone and as the text model of multimodal checkpoints."""

from .family import Family, by_key, is_of_text, no_rope, routers_at, unchanged


def _choices(module, inputs, output):
    probabilities, weights, chosen = output
    return by_key(probabilities, chosen, weights)


def _text_routers(model):
    return [(index, layer.router) for index, layer in enumerate(model.model.language_model.layers)
            if layer.enable_moe_block]


def _without_senses(weights, config):
    return {name: tensor for name, tensor in weights.items() if is_of_text(name)}


def _with_keys_of_all(weights, config):
    """As the small ones are published: layers that read the keys of others have some, too."""
    result = _without_senses(weights, config)
    text = config["text_config"]
    first = text["num_hidden_layers"] - text.get("num_kv_shared_layers", 0)
    prefix = "model.language_model.layers."
    for index in range(first, text["num_hidden_layers"]):
        for name in ("k_proj", "v_proj", "k_norm"):
            result[f"{prefix}{index}.self_attn.{name}.weight"] = -weights[
                f"{prefix}0.self_attn.{name}.weight"]
    return result


def _draw(name, noise, config):
    """Embeddings are multiplied with the root of their width, rows of routers divided by it."""
    if noise.dim() == 0:  # bounds of what looks and listens, which are not in the files
        return noise
    if name.endswith("layer_scalar"):
        return 0.8 + 0.1 * noise
    if name.endswith((".router.scale", ".per_expert_scale")):
        return 1.0 + 0.25 * noise
    if name.endswith(("q_norm.weight", "k_norm.weight")):  # scores are not scaled
        return 0.6 + 0.15 * noise
    if name.endswith(".router.proj.weight"):
        return 1.6 * noise
    if "embed_tokens" in name:
        text = config.get("text_config", config)
        width = text["hidden_size_per_layer_input"] if "per_layer" in name else noise.shape[1]
        return 1.3 / width ** 0.5 * noise
    if name.endswith("per_layer_model_projection.weight"):
        return noise
    return None


GEMMA4 = {
    "gemma4_text": Family("Gemma4ForCausalLM", released=unchanged, choices=_choices, rope=no_rope,
                          routers=routers_at("router"), draw=_draw),
    "gemma4": Family("Gemma4ForConditionalGeneration", released=_with_keys_of_all,
                     choices=_choices, rope=no_rope, routers=_text_routers, draw=_draw),
}
