# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/quant: quantised matrices and models, and what others read in them.

    python tools/make_quant_goldens.py --out tests/data/quant [--only models/qwen3_moe-gptq]

Needs torch, transformers >= 5.24, compressed-tensors and nvidia-modelopt. The README beside the data
describes it.
"""

import argparse
import json
import shutil
from pathlib import Path

import compressed_tensors
import torch
import transformers
from safetensors.torch import save_file

import make_goldens
from goldens import checkpoint
from goldens.families import FAMILIES
from goldens.quantized import Awq, DeepseekV4, Fp8, Gptq, Mxfp4, Mxfp8, compressed
from goldens.quantized_nvfp4 import (
    InklingLoop, ModelOpt, ModelOptInkling, ModelOptLlama4, ModelOptMixed)
from goldens.variant import BASE, Variant
from goldens.variants_inkling2 import SMALL, VISION


def ints(bits, strategy, symmetric=True, group=None, kind="pack-quantized", **more):
    return compressed(kind, num_bits=bits, type="int", strategy=strategy, group_size=group,
                      symmetric=symmetric, **more)


def floats(kind, bits, strategy, **more):
    return compressed(kind, num_bits=bits, type="float", strategy=strategy, symmetric=True, **more)


MATRICES = {
    "ct-int4-group": (ints(4, "group", group=32), [(24, 128), (40, 96)]),
    "ct-int4-group-f16": (ints(4, "group", group=64, scale_dtype=torch.float16), [(24, 128)]),
    "ct-int4-group-zeros": (ints(4, "group", False, 32), [(24, 128), (41, 96)]),
    "ct-int4-channel": (ints(4, "channel"), [(24, 100)]),
    "ct-int4-channel-zeros": (ints(4, "channel", False), [(27, 100)]),
    "ct-int8-group": (ints(8, "group", group=32), [(24, 128)]),
    "ct-int8-group-zeros": (ints(8, "group", False, 32), [(25, 128)]),
    "ct-int8-channel": (ints(8, "channel"), [(24, 98)]),
    "ct-int-quantized": (ints(8, "channel", kind="int-quantized"), [(24, 100)]),
    "ct-int-quantized-zeros": (ints(8, "channel", False, kind="int-quantized"), [(24, 100)]),
    "ct-int-quantized-tensor": (ints(8, "tensor", kind="int-quantized"), [(24, 64)]),
    "ct-fp8-channel": (floats("float-quantized", 8, "channel"), [(24, 100)]),
    "ct-fp8-group": (floats("float-quantized", 8, "group", group_size=64), [(24, 192)]),
    "ct-fp8-tensor": (floats("float-quantized", 8, "tensor", scale_dtype=torch.float32), [(24, 64)]),
    "ct-fp8-block": (floats("float-quantized", 8, "block", block_structure=[32, 64]), [(64, 192)]),
    "ct-mxfp4": (floats("mxfp4-pack-quantized", 4, "group", group_size=32), [(24, 128)]),
    "ct-mxfp8": (floats("mxfp8-quantized", 8, "group", group_size=32, scale_dtype=torch.uint8),
                 [(24, 128)]),
    "ct-nvfp4": (floats("nvfp4-pack-quantized", 4, "tensor_group", group_size=16,
                        scale_dtype=torch.float32), [(24, 128)]),
    "awq": (Awq(32), [(24, 128), (40, 96)]),
    "awq-row": (Awq(64), [(16, 64)]),
    "gptq-int4": (Gptq(4, 32, True), [(24, 128), (40, 96)]),
    "gptq-int4-zeros": (Gptq(4, 32, False), [(24, 128)]),
    "gptq-int4-v2": (Gptq(4, 64, False, version=2), [(24, 128)]),
    "gptq-int4-row": (Gptq(4, -1, True), [(24, 96)]),
    "gptq-int8": (Gptq(8, 32, True), [(24, 128)]),
    "gptq-int8-zeros": (Gptq(8, 32, False), [(24, 128)]),
    "fp8-block": (Fp8(), [(130, 256), (12, 192), (20, 96)]),
    "fp8-tensor": (Fp8(None), [(24, 96)]),
    "fp8-powers": (DeepseekV4(fp4=False), [(12, 256), (24, 96)]),
    "mxfp8": (Mxfp8(), [(24, 128), (41, 96)]),
    "mxfp8-qscale": (Mxfp8("qscale_weight"), [(24, 64)]),
    "fp4-experts": (DeepseekV4(fp4=True), [(24, 128), (40, 96)]),
    "modelopt-nvfp4": (ModelOpt("NVFP4"), [(24, 128), (41, 80)]),
    "modelopt-fp8": (ModelOpt("FP8"), [(24, 100)]),
    "modelopt-fp8-rows": (ModelOpt("FP8_PER_CHANNEL_PER_TOKEN"), [(24, 100)]),
    "modelopt-fp8-blocks": (ModelOpt("FP8_PB_WO"), [(130, 256), (12, 192)]),
    "modelopt-mxfp8": (ModelOpt("MXFP8"), [(24, 128)]),
}
PACKED = {  # and whether rows of gate and up take turns
    "mxfp4-packed": (Mxfp4(), True),
    "mxfp8-packed": (Mxfp8("scale"), True),
    "modelopt-nvfp4-packed": (ModelOptInkling(), True),
    "modelopt-fp8-packed": (ModelOptLlama4(), False),
    "inkling2-nvfp4": (InklingLoop(), True),
    "inkling2-mxfp8": (InklingLoop(fp4=False), True),
}


def check_close(numbers, weight, name):
    """What was read is the drawn matrix, coarsely: a layout that is read wrong is noise."""
    error = float((numbers - weight).norm() / weight.norm())
    if error > 0.2:
        raise RuntimeError(f"{name}: read with a relative error of {error}")


def write_matrices(name, out):
    scheme, shapes = MATRICES[name]
    generator = torch.Generator().manual_seed(make_goldens.FIRST_SEED)
    tensors, matrices = {}, []
    for index, (n, k) in enumerate(shapes):
        weight = torch.randn(n, k, generator=generator)
        weight *= torch.exp(0.5 * torch.randn(n, 1, generator=generator))
        parts, numbers = scheme.quantize(weight)
        check_close(numbers, weight, name)
        module = f"m{index}.proj"
        tensors |= {f"{module}.{part}": tensor.contiguous() for part, tensor in parts.items()}
        tensors[f"expected.{index}"] = numbers.float().contiguous()
        matrices.append({"name": f"{module}.weight", "n": n, "k": k})
    write_case(out / name, scheme.config(), matrices, tensors)


def name_of(tensor_name, part):
    """Where a part of the codes of a weight stands."""
    if part == "weight":
        return tensor_name
    if tensor_name.endswith(".weight"):
        return f"{tensor_name.removesuffix('.weight')}.{part}"
    return tensor_name + part if part[:1] in ("", ".", "_") else f"{tensor_name}_{part}"


def write_packed(name, out):
    """Experts in one tensor each: rows of gate and up in turn, or one after the other."""
    generator = torch.Generator().manual_seed(make_goldens.FIRST_SEED)
    experts, rows, k = 3, 32, 128
    weight = torch.randn(experts, rows, k, generator=generator)
    stored = "m.gate_up_proj"
    if name != "fp8-packed":
        scheme, turns = PACKED[name]
        parts, numbers = scheme.quantize(weight)
        stored = getattr(scheme, "tensor", stored)
        tensors = {name_of(stored, part): tensor for part, tensor in parts.items()}
    else:
        scheme, turns = Fp8((16, 64)), False
        parts = [scheme.quantize(expert) for expert in weight]
        numbers = torch.stack([number for _, number in parts])
        tensors = {stored: torch.stack([part["weight"] for part, _ in parts]),
                   stored + "_scale_inv":
                       torch.stack([part["weight_scale_inv"] for part, _ in parts])}
    halves = [{"first_row": 0}, {"first_row": rows // 2}]
    read = [numbers[:, :rows // 2], numbers[:, rows // 2:]]
    if turns:
        halves = [{"first_row": 0, "row_step": 2}, {"first_row": 1, "row_step": 2}]
        read = [numbers[:, 0::2], numbers[:, 1::2]]
    check_close(numbers, weight, name)
    matrices = []
    for half, values in zip(halves, read):
        for expert in range(experts):
            tensors[f"expected.{len(matrices)}"] = values[expert].float().contiguous()
            matrices.append({"name": stored, "n": rows // 2, "k": k, "slices": experts,
                             "slice": expert, "slice_rows": rows} | half)
    write_case(out / name, scheme.config(), matrices, tensors)


def write_case(directory, config, matrices, tensors):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    case = {"quantization_config": config, "matrices": matrices}
    (directory / "case.json").write_text(json.dumps(case, indent=1) + "\n")


# Models: dimensions that groups of 32 divide.
_SIZES = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": None,
          "eos_token_id": None, "rope_theta": 10000.0}
_QWEN3 = _SIZES | {"head_dim": 16, "intermediate_size": 96, "moe_intermediate_size": 32,
                   "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": True}
_QWEN2 = _SIZES | {"intermediate_size": 96, "moe_intermediate_size": 32, "num_experts": 6,
                   "num_experts_per_tok": 2, "shared_expert_intermediate_size": 64}
_DEEPSEEK = _SIZES | {"num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 32,
                      "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
                      "intermediate_size": 96, "moe_intermediate_size": 32, "n_routed_experts": 6,
                      "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
                      "first_k_dense_replace": 1}
# Of an indexer only the weights of heads are plain.
_INDEX = {"index_topk": 8, "index_n_heads": 4, "index_head_dim": 32}
# Compressors stay plain.
_DEEPSEEK_V4 = _SIZES | _INDEX | {
    "num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 32,
    "moe_intermediate_size": 32, "n_routed_experts": 6, "num_experts_per_tok": 2,
    "sliding_window": 6, "index_topk": 3, "hc_mult": 2, "hc_sinkhorn_iters": 4,
    "qk_rope_head_dim": 16, "num_hash_layers": 1, "compress_rate_csa": 3, "compress_rate_hca": 5,
    "layer_types": ["compressed_sparse_attention", "heavily_compressed_attention"],
}
_LLAMA4 = _SIZES | {
    "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 96, "num_local_experts": 4,
    "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "pad_token_id": None}
# The usual scale of 8, and more layers that run again, make much of rounded activations.
_INKLING2_LOOP = {
    "text_config": BASE | SMALL | {
        "num_hidden_layers": 3, "n_layers_per_attn_res_block": 1, "moe_intermediate_size": 32,
        "route_scale": 1.0,
        "loop_config": {"core_start": 1, "core_end": 2, "num_passes": 2, "gate_rank": 6},
        "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"]},
    "vision_config": VISION, "image_token_id": 95, "eos_token_id": None}
_MIXTRAL = _SIZES | {"intermediate_size": 96, "num_local_experts": 4, "num_experts_per_tok": 2}

MODELS = {
    "qwen3_moe-ct-int4": ("qwen3_moe", _QWEN3, "BF16", ints(4, "group", group=32)),
    "qwen3_moe-mxfp8": ("qwen3_moe", _QWEN3, "BF16", Mxfp8()),
    "qwen3_moe-gptq": ("qwen3_moe", _QWEN3, "F16", Gptq(4, 32, True)),
    "qwen2_moe-ct-int8": ("qwen2_moe", _QWEN2, "BF16", ints(8, "channel", kind="int-quantized")),
    "qwen2_moe-fp8": ("qwen2_moe", _QWEN2, "BF16", Fp8()),
    "qwen2_moe-mxfp4": ("qwen2_moe", _QWEN2, "BF16",
                        floats("mxfp4-pack-quantized", 4, "group", group_size=32)),
    "deepseek_v3-fp8": ("deepseek_v3", _DEEPSEEK, "BF16", Fp8()),
    "deepseek_v32-fp8": ("deepseek_v32", _DEEPSEEK | _INDEX, "BF16", Fp8()),
    "deepseek_v4-fp8": ("deepseek_v4", _DEEPSEEK_V4, "BF16", Fp8()),
    "deepseek_v4-fp4": ("deepseek_v4",
                        _DEEPSEEK_V4 | {"expert_dtype": "fp4", "n_routed_experts": 4}, "BF16",
                        DeepseekV4(fp4=True)),
    "mixtral-awq": ("mixtral", _MIXTRAL, "F16", Awq(32)),
    "qwen3_moe-modelopt-nvfp4": ("qwen3_moe", _QWEN3, "BF16",
                                 ModelOpt("NVFP4", beside="hf_quant_config.json")),
    "deepseek_v3-modelopt-mixed": ("deepseek_v3", _DEEPSEEK, "BF16", ModelOptMixed()),
    "llama4-modelopt-fp8": ("llama4_text", _LLAMA4, "BF16", ModelOptLlama4()),
    "inkling2_loop-nvfp4": ("inkling2_loop", _INKLING2_LOOP, "BF16", InklingLoop()),
}


def is_quantised(name):
    """Matrices of attention and of feed-forward networks; routers, embeddings and heads stay."""
    ends = ("_proj", "_with_mqa", ".w1", ".w2", ".w3", ".wq_a", ".wq_b", ".wk", ".wkv", ".wo_a",
            ".wo_b")
    plain = ("weights_proj", "compressor.")
    return (name.endswith(tuple(f"{end}.weight" for end in ends))
            and not any(part in name for part in plain))


def packed_from(tensors, drawn, model_type, config):
    """The inverse of `released`: names and shapes of `drawn`."""
    grids = {name: name_grid(name, tensor) for name, tensor in drawn.items()}
    names = FAMILIES[model_type].released(grids, config)
    result = {name: torch.empty_like(tensor) for name, tensor in drawn.items()}
    for name, places in names.items():
        source, at = places.source, places.at
        result[source][at] = tensors[name].reshape(result[source][at].shape)
    return result


class name_grid:
    """Stands for a tensor while `released` takes it apart, and remembers which part it is."""

    def __init__(self, source, tensor, at=...):
        self.source, self.tensor, self.at = source, tensor, at
        self.shape = tensor.shape

    def __getitem__(self, at):
        return name_grid(self.source, self.tensor[at], at)

    def numel(self):
        return self.tensor.numel()


def write_model(name, out):
    """make_goldens.build, with the numbers that the codes stand for in place of those drawn."""
    model_type, sizes, dtype, scheme = MODELS[name]
    directory = out / name
    variant = Variant(name, model_type, f"{name}: codes on disk", sizes, prompts=(1, 7, 24))
    random_weights = checkpoint.random_weights
    released = FAMILIES[model_type].released
    holds = getattr(scheme, "holds", is_quantised)
    files, read = {}, {}

    def on_disk(tensor):
        codes = not tensor.is_floating_point() or tensor.element_size() == 1
        return tensor if codes else tensor.to(checkpoint.TORCH_DTYPES[dtype])

    def quantised_weights(state_dict, config, seed):
        drawn = random_weights(state_dict, config, seed)
        files.clear()
        if hasattr(scheme, "weights"):
            numbers, stored = scheme.weights(drawn, released, config)
            files.update({name: tensor if name.endswith("_amax") else on_disk(tensor)
                          for name, tensor in stored.items()})
            read.update(numbers)
            return numbers
        numbers = {}
        for tensor_name, tensor in released(drawn, config).items():
            if not holds(tensor_name):
                numbers[tensor_name] = tensor
                files[tensor_name] = on_disk(tensor)
                continue
            own = scheme.of(tensor_name) if hasattr(scheme, "of") else scheme
            parts, numbers[tensor_name] = own.quantize(tensor.contiguous())
            files.update({name_of(tensor_name, part): value for part, value in parts.items()})
        files.update(getattr(scheme, "of_cache", dict)())
        return packed_from(numbers, drawn, model_type, config)

    checkpoint.random_weights = quantised_weights
    try:
        golden = make_goldens.first_that_works(
            name, lambda seed: make_goldens.build(variant, directory, seed))
    finally:
        checkpoint.random_weights = random_weights
    golden["dtype_on_disk"] = dtype
    shutil.rmtree(directory)
    directory.mkdir()
    stay = ["lm_head"] + [f"model.layers.{i}.mlp.{name}" for i in range(2)
                          for name in ("gate", "shared_expert_gate")]
    config = checkpoint.config_of(variant)
    quantization = scheme.config(stay)
    if getattr(scheme, "beside", None):
        (directory / scheme.beside).write_text(json.dumps(quantization, indent=1) + "\n")
    elif quantization:
        config |= {"quantization_config": quantization}
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in files.items()},
              directory / "model.safetensors", {"format": "pt"})
    if not quantization:  # Transformers reads the codes themselves
        make_goldens.check_layout(directory, variant, read)
    make_goldens.write_golden(golden, directory / "golden.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="the name of one case: matrices/awq, models/mixtral-awq")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, compressed-tensors "
          f"{compressed_tensors.__version__}")
    work = [("matrices", name, write_matrices) for name in MATRICES]
    work += [("matrices", name, write_packed)
             for name in (*PACKED, "fp8-packed")]
    work += [("models", name, write_model) for name in MODELS]
    for kind, name, write in work:
        if arguments.only in (None, f"{kind}/{name}"):
            write(name, arguments.out / kind)
            files = (arguments.out / kind / name).iterdir()
            print(f"{kind}/{name}: {sum(file.stat().st_size for file in files) // 1024} KiB",
                  flush=True)


if __name__ == "__main__":
    main()
