# SPDX-License-Identifier: Apache-2.0
"""Random weights for a variant and their files: two expert layouts, three dtypes, shards."""

import json
import re
import shutil

import torch
from safetensors.torch import save_file

from .families import FAMILIES
from .variant import DELETE

TORCH_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def config_of(variant):
    """The content of config.json: the variant's keys, no defaults: absent keys stay absent."""
    model_type = variant.model_type
    config = {"architectures": [FAMILIES[model_type].architecture], "model_type": model_type}
    config |= {key: value for key, value in variant.config.items() if value != DELETE}
    return config


def exact_in_all_dtypes(tensor):
    """Rounds to bfloat16 and flushes values below 2^-14: the rest is exact in F32, BF16 and F16.

    Integers stay."""
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.to(torch.bfloat16).to(torch.float32)
    return torch.where(rounded.abs() < 2.0**-14, torch.zeros_like(rounded), rounded)


def random_tensor(name, noise, config):
    """Scales that give logits a standard deviation of 1-2 and decisive attention and routing."""
    shape = noise.shape
    if "norm" in name and not name.endswith(".bias"):
        return 1.0 + 0.25 * noise
    if name.endswith("correction_bias"):  # beside sigmoids or probabilities
        return 0.2 * noise
    if name.endswith(".router.bias") or name.endswith(".sinks"):  # beside logits
        return noise
    if name.endswith("bias"):
        return 0.4 * noise
    if "embed_tokens" in name:
        return (1.5 / shape[-1] ** 0.5 if config.get("tie_word_embeddings") else 1.0) * noise
    gain = 1.0
    if re.search(r"(q_proj|k_proj|mlp\.gate|router)\.weight$|shared_expert_gate", name):
        gain = 1.6
    elif re.search(r"gate_proj|up_proj|down_proj|lm_head|put_linear", name):
        gain = 1.5
    return gain / shape[-1] ** 0.5 * noise


def is_tied(state_dict):
    head = state_dict["lm_head.weight"].data_ptr()
    return any(tensor.data_ptr() == head for name, tensor in state_dict.items()
               if name != "lm_head.weight")


def random_weights(state_dict, config, seed):
    """New values for every tensor of a state dict, without a tied lm_head."""
    generator = torch.Generator().manual_seed(seed)
    family = FAMILIES[config["model_type"]]
    config = config | {"tie_word_embeddings": is_tied(state_dict)}  # it may be the default
    weights = {}
    for name in sorted(state_dict):
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        noise = torch.randn(tuple(state_dict[name].shape), generator=generator)
        drawn = family.draw(name, noise, config)
        if drawn is None:
            drawn = random_tensor(name, noise, config)
        weights[name] = exact_in_all_dtypes(drawn)
    return weights


def shards_of(tensors, shard_bytes):
    """Fills shards in order of names, so that the tensors of one layer may lie in two files."""
    shards, size = [{}], 0
    for name in sorted(tensors):
        nbytes = tensors[name].numel() * tensors[name].element_size()
        if shards[-1] and size + nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensors[name]
        size += nbytes
    return shards


def dtype_on_disk(name, tensor, dtype):
    """Correction biases and LongCat's routers are published in float32 beside any dtype."""
    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if name.endswith(("correction_bias", ".classifier.weight")) else dtype


def clear(directory):
    """An empty directory in its place."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def write_checkpoint(variant, weights, directory):
    """Writes config.json and the safetensors files; what was in the directory before is removed."""
    clear(directory)
    config = config_of(variant)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    as_is = variant.packed and "quantization_config" not in config
    tensors = weights if as_is else FAMILIES[variant.model_type].released(weights, config)
    dtype = TORCH_DTYPES[variant.dtype]
    tensors = {name: tensor.to(dtype_on_disk(name, tensor, dtype)).contiguous()
               for name, tensor in tensors.items()}
    write_tensors(tensors, variant.shard_bytes, directory)


def write_tensors(tensors, shard_bytes, directory):
    """One file, or as many as their bytes take (0: one)."""
    metadata = {"format": "pt"}
    if not shard_bytes:
        save_file(tensors, directory / "model.safetensors", metadata)
        return
    shards = shards_of(tensors, shard_bytes)
    weight_map = {}
    for index, shard in enumerate(shards):
        file = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, directory / file, metadata)
        weight_map |= {name: file for name in shard}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    content = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(content, indent=1) + "\n")
