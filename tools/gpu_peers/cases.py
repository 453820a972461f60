# SPDX-License-Identifier: Apache-2.0
"""The shapes, random weights and tokens that all peers see, and a plain reference."""
import math
import statistics
from typing import NamedTuple

import torch
import torch.nn.functional as F


class Shape(NamedTuple):
    hidden: int
    inter: int
    experts: int
    top_k: int
    shared: int  # intermediate size of the shared expert; 0: none
    layers: int  # measured in turn


SHAPES = {"mixtral-8x7b": Shape(4096, 14336, 8, 2, 0, 2),
          "qwen3-30b-a3b": Shape(2048, 768, 128, 8, 0, 4),
          "deepseek-v3": Shape(7168, 2048, 256, 8, 2048, 1)}
# Of the self-test.
TINY = {"tiny": Shape(256, 128, 8, 2, 128, 2), "tiny-many": Shape(256, 128, 96, 4, 0, 1)}


def silu_mul(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


class Weights:
    def __init__(self, shape, new):
        s, deviation = shape, 1 / math.sqrt(shape.hidden)
        self.gate_up = new(s.experts, 2 * s.inter, s.hidden, deviation=deviation)
        self.down = new(s.experts, s.hidden, s.inter, deviation=deviation)
        if s.shared:
            self.shared_gate_up = new(2 * s.shared, s.hidden, deviation=deviation)
            self.shared_down = new(s.hidden, s.shared, deviation=deviation)


class Route:
    def __init__(self, shape, tokens, dtype, generator):
        scores = torch.rand(tokens, shape.experts, device=generator.device, generator=generator)
        scale, ids = scores.topk(shape.top_k, 1)  # uniform: distinct experts
        self.ids, self.ids32 = ids, ids.int()
        self.scale = scale / scale.sum(1, keepdim=True)
        self.scale16 = self.scale.to(dtype)


class Case:
    """`tokens` random tokens, and each layer's routing of them."""

    def __init__(self, shape, tokens, new, generator):
        self.tokens = tokens
        self.x = new(tokens, shape.hidden)
        self.routes = [Route(shape, tokens, self.x.dtype, generator) for _ in range(shape.layers)]
        self.touched = statistics.mean(r.ids.unique().numel() for r in self.routes)
        self.slots = None

    def alone(self, entries):
        if self.slots is None:
            self.slots = torch.full((entries, 16), entries, dtype=torch.int32, device=self.x.device)
            self.slots[:, 0] = torch.arange(entries, device=self.x.device)
            self.num_blocks = torch.full((1,), entries, dtype=torch.int32, device=self.x.device)
        return self.slots, self.num_blocks


def reference(case, weights, route):
    out = torch.zeros(case.x.shape, dtype=torch.float32, device=case.x.device)
    for expert in route.ids.unique().tolist():
        token, place = (route.ids == expert).nonzero(as_tuple=True)
        hot = silu_mul(case.x[token].float() @ weights.gate_up[expert].float().T)
        out[token] += hot @ weights.down[expert].float().T * route.scale[token, place, None]
    return out


def error_of(out, expected):
    return float((out.float() - expected.float()).norm() / expected.float().norm())
