# SPDX-License-Identifier: Apache-2.0
"""NVFP4 and FP8 as NVIDIA's Model Optimizer exports them, and the experts of Inkling 2 Loop.

The former is packed and read by the nvidia-modelopt package, the latter is read by Transformers.
"""

import torch
from modelopt.torch.quantization.qtensor import FP8QTensor, MXFP8QTensor, NVFP4QTensor
from transformers.core_model_loading import Inkling2LoopDequantizeExperts

FP4_GROUP = 16
FP8_BLOCK = 128


class ModelOpt:
    """One quant_algo, in config.json or, `beside`, in a file of its own."""

    def __init__(self, algorithm, beside=None):
        self.algorithm = algorithm
        self.beside = beside

    def config(self, ignore=()):
        of_weights = {"dynamic": False, "num_bits": 8, "type": "float"}
        if self.algorithm == "NVFP4":
            of_weights |= {"num_bits": 4, "group_size": FP4_GROUP}
        producer = {"name": "modelopt", "version": "0.47.0"}
        if self.beside:
            quantization = {"quant_algo": self.algorithm, "kv_cache_quant_algo": "FP8",
                            "exclude_modules": list(ignore)}
            if self.algorithm == "NVFP4":
                quantization["group_size"] = FP4_GROUP
            return {"producer": producer, "quantization": quantization}
        group = {"input_activations": of_weights, "weights": of_weights, "targets": ["Linear"]}
        return {"config_groups": {"group_0": group}, "ignore": list(ignore),
                "quant_algo": self.algorithm, "producer": producer, "quant_method": "modelopt",
                "kv_cache_scheme": {"dynamic": False, "num_bits": 8, "type": "float"}}

    def of_cache(self):
        """Scales of a cache of FP8, in the first layer."""
        return {f"model.layers.0.self_attn.{of}_proj.{of}_scale": torch.tensor(0.01)
                for of in "kv"} if self.beside else {}

    def quantize(self, weight):
        parts, numbers = {
            "NVFP4": self.nvfp4, "FP8": self.fp8, "FP8_PER_CHANNEL_PER_TOKEN": self.rows,
            "FP8_PB_WO": self.blocks, "MXFP8": self.mxfp8}[self.algorithm](weight)
        return parts, numbers.float().contiguous()

    def nvfp4(self, weight):
        codes, scale, second = NVFP4QTensor.quantize(weight.clone(), FP4_GROUP)
        numbers = codes.dequantize(torch.float32, scale=scale, double_scale=second,
                                   block_sizes={-1: FP4_GROUP})
        return {"weight": codes._quantized_data, "weight_scale": scale, "weight_scale_2": second,
                "input_scale": torch.tensor(0.25)}, numbers

    def fp8(self, weight):
        codes, scale = FP8QTensor.quantize(weight)
        return {"weight": codes._quantized_data, "weight_scale": scale.reshape(()),
                "input_scale": torch.tensor(0.25)}, codes.dequantize(torch.float32, scale=scale)

    def rows(self, weight):
        codes, scale = FP8QTensor.quantize(weight, axis=0)
        return ({"weight": codes._quantized_data, "weight_scale": scale.reshape(-1)},
                codes.dequantize(torch.float32, scale=scale))

    def blocks(self, weight):
        sides = {-1: FP8_BLOCK, -2: FP8_BLOCK}
        codes, scale = FP8QTensor.quantize(weight, block_sizes=sides)
        numbers = codes.dequantize(torch.float32, scale=scale, block_sizes=sides)
        return {"weight": codes._quantized_data, "weight_scale": scale[:, None, :, None]}, numbers

    def mxfp8(self, weight):
        codes, scale = MXFP8QTensor.quantize(weight)
        return ({"weight": codes._quantized_data, "weight_scale": scale},
                codes.dequantize(torch.float32, scale=scale))


class ModelOptMixed(ModelOpt):
    """Experts of NVFP4, all others of FP8."""

    def __init__(self):
        super().__init__("MIXED_PRECISION")

    def of(self, tensor_name):
        return ModelOpt("NVFP4" if ".experts." in tensor_name else "FP8")

    def config(self, ignore=()):
        layers = {"model.layers.1.mlp.experts.0.up_proj": {"quant_algo": "NVFP4", "group_size": 16},
                  "model.layers.1.self_attn.o_proj": {"quant_algo": "FP8"}}
        groups = {f"group_{i}": ModelOpt(algorithm).config()["config_groups"]["group_0"]
                  for i, algorithm in enumerate(("NVFP4", "FP8"))}
        return super().config(ignore) | {"config_groups": groups, "quantized_layers": layers}


class ModelOptLlama4(ModelOpt):
    """FP8, and experts [E, in, out] in one tensor with one scale."""

    def __init__(self):
        super().__init__("FP8")

    def holds(self, tensor_name):
        ends = ("_proj.weight", ".gate_up_proj", ".experts.down_proj")
        return tensor_name.endswith(ends)


class ModelOptInkling(ModelOpt):
    """Experts of NVFP4 in one tensor, and a second scale for each."""

    def __init__(self):
        super().__init__("NVFP4")

    def quantize(self, weight):
        second = weight.abs().amax((1, 2)) / (6.0 * 448.0)
        factors = second[:, None, None]
        codes, scale, _ = NVFP4QTensor.quantize(weight.clone(), FP4_GROUP, None, factors)
        numbers = codes.dequantize(torch.float32, scale=scale, double_scale=factors,
                                   block_sizes={-1: FP4_GROUP})
        return {"": codes._quantized_data, ".scale": scale, ".scale2": second,
                ".original_shape": torch.tensor(weight.shape),
                ".input_amax": torch.tensor(3.0)}, numbers


class InklingLoop:
    """Packed experts of Inkling 2's looped form: NVFP4, or MXFP8."""

    tensor = "m.experts.w13_weight"  # only names tell

    def __init__(self, fp4=True):
        self.fp4 = fp4

    def config(self, ignore=()):
        return None  # config.json says nothing of it

    def quantize(self, weight):
        parts = self.nvfp4(weight) if self.fp4 else self.mxfp8(weight)
        read = Inkling2LoopDequantizeExperts().convert(
            parts, ["", "_scale", "_amax", "_outer_scale_denominator"], ["numbers"],
            model=torch.nn.ParameterDict({"numbers": torch.zeros(1)}), full_layer_name="numbers")
        return parts, read["numbers"]

    def nvfp4(self, weight):
        """The greatest number of an expert is its amax, for which scales are 448."""
        amax = weight.abs().amax((1, 2))
        denominator = torch.full_like(amax, 6.0 * 448.0)
        second = (amax / denominator)[:, None, None]
        codes, scale, _ = NVFP4QTensor.quantize(weight.clone(), FP4_GROUP, None, second)
        return {"": codes._quantized_data, "_scale": scale, "_amax": amax,
                "_outer_scale_denominator": denominator}

    def mxfp8(self, weight):
        codes, scale = MXFP8QTensor.quantize(weight)
        return {"": codes._quantized_data, "_scale": scale}

    def weights(self, drawn, released, config):
        """What the files hold, and the numbers in place of those drawn. Experts of the first layer
        are MXFP8; published rows of gate and up take turns."""
        numbers, packed = dict(drawn), {}
        for name, tensor in drawn.items():
            if not name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
                continue
            own = InklingLoop(fp4=".layers.0." not in name)
            turns = name.endswith("gate_up_proj")
            rows = torch.stack(tensor.chunk(2, dim=1), dim=-2).flatten(1, 2) if turns else tensor
            parts, read = own.quantize(rows.contiguous())
            numbers[name] = torch.cat([read[:, 0::2], read[:, 1::2]], dim=1) if turns else read
            stem = name.replace("model.language_model.", "model.llm.")
            stem = stem.replace("gate_up_proj", "w13_weight").replace("down_proj", "w2_weight")
            packed |= {stem + part: value for part, value in parts.items()}
        return numbers, released(numbers, config) | packed
