# SPDX-License-Identifier: Apache-2.0
"""Quantised layouts of safetensors: codes of a matrix, and the numbers that others read in them.

`quantize(weight)` of a format gives {suffix: tensor} for a module and the dequantised float32
matrix. compressed-tensors is packed and unpacked by the compressed-tensors package. AWQ is packed
here by AutoAWQ's published order and read by that package's converter. FP8 and MXFP4 are packed
here and read by Transformers or compressed-tensors. GPTQ is packed and read here, from AutoGPTQ's published
layout: no reader of it runs without a GPU.
"""

import json

import torch
from compressed_tensors.compressors import (
    MXFP4PackedCompressor, MXFP8QuantizationCompressor, NaiveQuantizationCompressor,
    NVFP4PackedCompressor, PackedQuantizationCompressor)
from compressed_tensors.compressors.nvfp4 import unpack_fp4_from_uint8
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from compressed_tensors.entrypoints.convert.converters.fp8block_dequantizer import (
    FP8BlockDequantizer)
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from compressed_tensors.quantization.utils import calculate_qparams
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

from . import mxfp4


def grouped(weight, group):
    n, k = weight.shape
    return weight.reshape(n, k // group, group)


class Compressed:
    """One scheme of compressed-tensors, written and read by the package."""

    def __init__(self, fmt, compressor, scale_dtype=torch.bfloat16, **weights):
        self.format = fmt
        self.compressor = compressor
        self.scale_dtype = scale_dtype
        self.args = QuantizationArgs(**weights)
        self.scheme = QuantizationScheme(targets=["Linear"], weights=self.args, format=fmt)

    def config(self, ignore=("lm_head",)):
        config = QuantizationConfig(config_groups={"group_0": self.scheme}, format=self.format,
                                    quantization_status="compressed", ignore=list(ignore))
        return json.loads(config.model_dump_json())

    def scales(self, weight):
        n, k = weight.shape
        strategy = self.args.strategy
        if strategy in ("group", "tensor_group"):
            parts = grouped(weight, self.args.group_size)
        elif strategy == "channel":
            parts = grouped(weight, k)
        elif strategy == "tensor":
            parts = weight.reshape(1, 1, -1)
        else:
            rows, columns = self.args.block_structure
            parts = weight.reshape(n // rows, rows, k // columns, columns).transpose(1, 2)
            parts = parts.reshape(n // rows, k // columns, -1)
        return parts.amin(-1), parts.amax(-1)

    def quantize(self, weight):
        low, high = self.scales(weight)
        state = {"weight": weight}
        if self.format in ("mxfp4-pack-quantized", "mxfp8-quantized"):
            largest = torch.maximum(low.abs(), high.abs())
            top = 2 if self.format.startswith("mxfp4") else 8  # of the greatest code: 6, 448
            state["weight_scale"] = torch.exp2(torch.floor(torch.log2(largest)) - top)
        elif self.format == "nvfp4-pack-quantized":
            total = 448.0 * 6.0 / weight.abs().max()
            largest = torch.maximum(low.abs(), high.abs())
            rounded = (largest / 6.0 * total).to(torch.float8_e4m3fn)
            state["weight_global_scale"] = total.reshape(1)
            state["weight_scale"] = rounded.to(torch.float32)
        else:
            scale, zero = calculate_qparams(low, high, self.args)
            scale = scale.to(self.scale_dtype).to(torch.float32)
            if self.args.strategy == "tensor":
                scale, zero = scale.reshape(1), zero.reshape(1)
            state |= {"weight_scale": scale, "weight_zero_point": zero}
        packed = self.compressor.compress(dict(state), self.scheme)
        numbers = self.read(packed)
        if packed["weight_scale"].dtype == torch.float32:
            packed["weight_scale"] = packed["weight_scale"].to(self.scale_dtype)
        return packed, numbers

    def read(self, packed):
        """In float32: the package itself rounds NVFP4 to bfloat16."""
        if self.format != "nvfp4-pack-quantized":
            return self.compressor.decompress(dict(packed), self.scheme)["weight"].float()
        rows, columns = packed["weight_packed"].shape
        numbers = unpack_fp4_from_uint8(packed["weight_packed"], rows, columns * 2)
        return dequantize(numbers.float(), packed["weight_scale"].float(), args=self.args,
                          dtype=torch.float32, global_scale=packed["weight_global_scale"])


def pack_words(values, order):
    """[rows, columns] of unsigned numbers, len(order) in a word of 32 bits along the columns."""
    rows, columns = values.shape
    each = len(order)
    parts = values.reshape(rows, columns // each, each)[:, :, order].to(torch.int64)
    shifts = torch.arange(each) * (32 // each)
    words = (parts << shifts).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def unsigned_codes(weight, group, bits, symmetric):
    """Codes [n, k], zeros [n, groups], scales [n, groups] in float16."""
    parts = grouped(weight, group)
    top = 2**bits - 1
    if symmetric:
        scale = (parts.abs().amax(-1) * 2 / top).to(torch.float16)
        zero = torch.full_like(scale, 2 ** (bits - 1)).to(torch.int64)
    else:
        low = parts.amin(-1).clamp(max=0)
        scale = ((parts.amax(-1).clamp(min=0) - low) / top).to(torch.float16)
        zero = torch.round(-low / scale.float()).clamp(1, top).to(torch.int64)
    codes = torch.round(parts / scale.float()[..., None]) + zero[..., None]
    return codes.clamp(0, top).to(torch.int64).reshape(weight.shape), zero, scale


class Awq:
    """AutoAWQ's gemm version: nibble i of a word is column order[i] of eight."""

    ORDER = [0, 2, 4, 6, 1, 3, 5, 7]

    def __init__(self, group):
        self.group = group

    def config(self, ignore=()):
        return {"quant_method": "awq", "bits": 4, "group_size": self.group, "zero_point": True,
                "version": "gemm", "modules_to_not_convert": list(ignore) or None}

    def quantize(self, weight):
        codes, zero, scale = unsigned_codes(weight, self.group, 4, symmetric=False)
        parts = {"qweight": pack_words(codes.T, self.ORDER), "qzeros": pack_words(zero.T, self.ORDER),
                 "scales": scale.T.contiguous()}
        converter = AutoAWQConverter(bits=4, group_size=self.group)
        read = converter.process({f"m.{name}": tensor.clone() for name, tensor in parts.items()})
        read = {name.removeprefix("m."): tensor for name, tensor in read.items()}
        read["weight_scale"] = read["weight_scale"].float()
        scheme = converter._build_quant_config().config_groups["config_group_0"]
        return parts, PackedQuantizationCompressor.decompress(read, scheme)["weight"].float()


class Gptq:
    """AutoGPTQ: codes packed along k, zeros along n, and zeros are stored less one."""

    def __init__(self, bits, group, symmetric, version=1):
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.version = version

    def config(self, ignore=()):
        config = {"quant_method": "gptq", "bits": self.bits, "group_size": self.group,
                  "desc_act": False, "sym": self.symmetric, "damp_percent": 0.01,
                  "true_sequential": True, "static_groups": False, "lm_head": False}
        return config | ({"checkpoint_format": "gptq_v2"} if self.version == 2 else {})

    def quantize(self, weight):
        k = weight.shape[1]
        group = k if self.group < 0 else self.group
        codes, zero, scale = unsigned_codes(weight, group, self.bits, self.symmetric)
        each = 32 // self.bits
        stored = zero - (1 if self.version == 1 else 0)
        parts = {"qweight": pack_words(codes, range(each)).T.contiguous(),
                 "qzeros": pack_words(stored.T, range(each)),
                 "scales": scale.T.contiguous(),
                 "g_idx": (torch.arange(k) // group).to(torch.int32)}
        return parts, self.read(parts, k)

    def read(self, parts, k):
        """As AutoGPTQ's plain torch path reads them: weight = scale[g_idx] * (code - zero[g_idx])."""
        each = 32 // self.bits
        shifts = (torch.arange(each) * self.bits).to(torch.int32)
        mask = 2**self.bits - 1
        zeros = (parts["qzeros"][:, :, None] >> shifts) & mask
        zeros = zeros.reshape(parts["scales"].shape) + (1 if self.version == 1 else 0)
        codes = (parts["qweight"][:, None, :] >> shifts[:, None]) & mask
        codes = codes.reshape(k, -1)
        group = parts["g_idx"].long()
        return (parts["scales"].float()[group] * (codes - zeros[group]).float()).T.contiguous()


class Fp8:
    """Blocks of E4M3 as DeepSeek-V3 has them, or one scale for the tensor (block None)."""

    def __init__(self, block=(128, 128)):
        self.block = block

    def config(self, ignore=()):
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                "weight_block_size": list(self.block) if self.block else None,
                "modules_to_not_convert": list(ignore)}

    def quantize(self, weight):
        n, k = weight.shape
        rows, columns = self.block or (n, k)
        down, across = -(-n // rows), -(-k // columns)
        padded = torch.zeros(down * rows, across * columns)
        padded[:n, :k] = weight
        parts = padded.reshape(down, rows, across, columns)
        scale = parts.abs().amax((1, 3)) / 448.0
        codes = (parts / scale[:, None, :, None]).reshape(padded.shape)[:n, :k]
        codes = codes.contiguous().to(torch.float8_e4m3fn)
        reader = FP8BlockDequantizer(weight_block_size=(rows, columns), dtype=torch.float32)
        numbers = reader._create_dequantized_weight(codes, scale)
        stored = scale if self.block else scale.reshape(())
        return {"weight": codes, "weight_scale_inv": stored}, numbers.contiguous()


def power_of_two(largest, top):
    """The least power of two, as E8M0, with which `largest` is at most `top`."""
    return torch.exp2(torch.ceil(torch.log2(largest / top))).to(torch.float8_e8m0fnu)


class DeepseekV4:
    """The released chat models: E4M3 in blocks, routed experts of E2M1 in groups of 32, and powers
    of two as scales. Read by Transformers."""

    GROUP = 32

    def __init__(self, fp4):
        self.fp4 = fp4

    def of(self, tensor_name):
        return DeepseekV4(".ffn.experts." in tensor_name)

    def config(self, ignore=()):
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                "scale_fmt": "ue8m0", "weight_block_size": [128, 128]}

    def quantize(self, weight):
        return self.quantize_fp4(weight) if self.fp4 else self.quantize_fp8(weight)

    def quantize_fp8(self, weight):
        n, k = weight.shape
        assert all(size <= 128 or size % 128 == 0 for size in (n, k))  # Transformers' own limit
        down, across = -(-n // 128), -(-k // 128)
        blocks = weight.reshape(down, n // down, across, k // across)
        scale = power_of_two(blocks.abs().amax((1, 3)), 448.0)
        codes = (blocks / scale.float()[:, None, :, None]).reshape(n, k).to(torch.float8_e4m3fn)
        return self.read(codes, scale)

    def quantize_fp4(self, weight):
        parts = grouped(weight, self.GROUP)
        scale = power_of_two(parts.abs().amax(-1), 6.0)
        values = parts / scale.float()[..., None]
        table = torch.tensor(Fp8Dequantize._FP4_E2M1_LUT)
        codes = (values[..., None] - table).abs().argmin(-1).reshape(weight.shape)
        packed = (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8).view(torch.int8)
        return self.read(packed, scale)

    def read(self, codes, scale):
        numbers = Fp8Dequantize(None)._dequantize_one(codes, scale, torch.float32)
        return {"weight": codes, "scale": scale}, numbers


class Mxfp8:
    """E4M3 in groups of 32 along a row, and the exponents of their powers of two in bytes. Read by
    Transformers."""

    GROUP = 32

    def __init__(self, scale="weight_scale_inv"):  # its name
        self.scale = scale

    def config(self, ignore=()):
        return {"quant_method": "mxfp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                "scale_fmt": "ue8m0", "modules_to_not_convert": list(ignore)}

    def quantize(self, weight):
        parts = weight.unflatten(-1, (-1, self.GROUP))
        scale = power_of_two(parts.abs().amax(-1), 448.0)
        codes = (parts / scale.float()[..., None]).reshape(weight.shape).to(torch.float8_e4m3fn)
        exponents = scale.view(torch.uint8)
        numbers = Fp8Dequantize(None)._dequantize_one(codes, exponents, torch.float32)
        return {"weight": codes, self.scale: exponents}, numbers


class Mxfp4:
    """gpt-oss: bytes [E, rows, k / 32, 16] and exponents [E, rows, k / 32]."""

    def config(self, ignore=()):
        return {"quant_method": "mxfp4", "modules_to_not_convert": list(ignore)}

    def quantize(self, weight):
        parts = mxfp4.pack(weight)
        return parts, mxfp4.unpack(parts).transpose(1, 2).contiguous()


def compressed(kind, **weights):
    return Compressed(kind, {"pack-quantized": PackedQuantizationCompressor,
                             "mxfp4-pack-quantized": MXFP4PackedCompressor,
                             "mxfp8-quantized": MXFP8QuantizationCompressor,
                             "nvfp4-pack-quantized": NVFP4PackedCompressor}.get(
                                 kind, NaiveQuantizationCompressor), **weights)
