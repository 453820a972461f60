# SPDX-License-Identifier: Apache-2.0
"""MXFP4 as gpt-oss is released: bytes [E, rows, k / 32, 16] and exponents [E, rows, k / 32]."""

import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def pack(weight):
    """{"blocks", "scales"} of [E, rows, k]: nearest values; of what `unpack` gave, the same."""
    experts, rows, k = weight.shape
    parts = weight.reshape(experts, rows, k // 32, 32)
    exponent = torch.floor(torch.log2(parts.abs().amax(-1))) - 2
    scaled = parts / torch.exp2(exponent)[..., None]
    nearest = (scaled.abs()[..., None] - E2M1).abs().argmin(-1)
    codes = (nearest | ((scaled < 0).long() << 3)).to(torch.uint8)
    return {"blocks": codes[..., 0::2] | (codes[..., 1::2] << 4),
            "scales": (exponent + 127).to(torch.uint8)}


def unpack(parts):
    """The float32 numbers [E, k, rows], transposed as gpt-oss itself reads them."""
    return convert_moe_packed_tensors(parts["blocks"], parts["scales"], dtype=torch.float32)
