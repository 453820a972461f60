# SPDX-License-Identifier: Apache-2.0
"""Random weights for a variant and their files: two expert layouts, three dtypes, shards."""

import json
import re
import shutil

import torch
from safetensors.torch import save_file

from .variant import DELETE

ARCHITECTURES = {
    "granitemoe": "GraniteMoeForCausalLM",
    "granitemoeshared": "GraniteMoeSharedForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "olmoe": "OlmoeForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
TORCH_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def config_of(variant):
    """The content of config.json: the variant's keys, no defaults: absent keys stay absent."""
    model_type = variant.model_type
    config = {"architectures": [ARCHITECTURES[model_type]], "model_type": model_type}
    config |= {key: value for key, value in variant.config.items() if value != DELETE}
    return config


def exact_in_all_dtypes(tensor):
    """Rounds to bfloat16 and flushes values below 2^-14: the rest is exact in F32, BF16 and F16."""
    rounded = tensor.to(torch.bfloat16).to(torch.float32)
    return torch.where(rounded.abs() < 2.0**-14, torch.zeros_like(rounded), rounded)


def random_tensor(name, shape, config, generator):
    """Scales that give logits a standard deviation of 1-2 and decisive attention and routing."""
    noise = torch.randn(shape, generator=generator)
    if "norm" in name:
        return 1.0 + 0.25 * noise
    if name.endswith(".bias"):
        return 0.4 * noise
    if "embed_tokens" in name:
        return (1.5 / shape[-1] ** 0.5 if config.get("tie_word_embeddings") else 1.0) * noise
    gain = 1.0
    if re.search(r"(q_proj|k_proj|mlp\.gate|router)\.weight$|shared_expert_gate", name):
        gain = 1.6
    elif re.search(r"gate_proj|up_proj|down_proj|lm_head|put_linear", name):
        gain = 1.5
    return gain / shape[-1] ** 0.5 * noise


def random_weights(state_dict, config, seed):
    """New values for every tensor of a state dict (packed names), without a tied lm_head."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name in sorted(state_dict):
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        shape = tuple(state_dict[name].shape)
        weights[name] = exact_in_all_dtypes(random_tensor(name, shape, config, generator))
    return weights


# How Granite is released, by the names of Transformers: all experts in one tensor.
GRANITE_NAMES = {"block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
                 "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear.weight",
                 "block_sparse_moe.router.weight": "block_sparse_moe.router.layer.weight"}


def as_released(weights, model_type):
    """The names and the layout that published checkpoints of this family have."""
    if not model_type.startswith("granite"):
        return per_expert(weights, model_type)
    result = {}
    for name, tensor in weights.items():
        layer, _, part = name.partition(".block_sparse_moe.")
        part = f"block_sparse_moe.{part}"
        result[f"{layer}.{GRANITE_NAMES[part]}" if part in GRANITE_NAMES else name] = tensor
    return result


def per_expert(weights, model_type):
    """The classic layout: one tensor per expert and projection, named as released."""
    mixtral = model_type == "mixtral"
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    result = {}
    for name, tensor in weights.items():
        if mixtral:
            name = name.replace(".mlp.", ".block_sparse_moe.")
        if name.endswith(".experts.gate_up_proj"):
            prefix = name.removesuffix("gate_up_proj")
            half = tensor.shape[1] // 2
            for expert in range(tensor.shape[0]):
                result[f"{prefix}{expert}.{gate}.weight"] = tensor[expert, :half]
                result[f"{prefix}{expert}.{up}.weight"] = tensor[expert, half:]
        elif name.endswith(".experts.down_proj"):
            prefix = name.removesuffix("down_proj")
            for expert in range(tensor.shape[0]):
                result[f"{prefix}{expert}.{down}.weight"] = tensor[expert]
        else:
            result[name] = tensor
    return result


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


def write_checkpoint(variant, weights, directory):
    """Writes config.json and the safetensors files; what was in the directory before is removed."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config_of(variant), indent=2) + "\n")
    tensors = weights if variant.packed else as_released(weights, variant.model_type)
    dtype = TORCH_DTYPES[variant.dtype]
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    metadata = {"format": "pt"}
    if not variant.shard_bytes:
        save_file(tensors, directory / "model.safetensors", metadata)
        return
    shards = shards_of(tensors, variant.shard_bytes)
    weight_map = {}
    for index, shard in enumerate(shards):
        file = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, directory / file, metadata)
        weight_map |= {name: file for name in shard}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    content = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(content, indent=1) + "\n")
