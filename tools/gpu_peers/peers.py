# SPDX-License-Identifier: Apache-2.0
"""The implementations that are timed: run(case, layer, variant) computes one MoE layer."""
import math
import os
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
import triton

from cases import silu_mul
from triton_kernels import (ALONE, CONFIGS, EXPERTS_AT_MOST, combine_kernel, compile_only,
                            count_kernel, down_kernel, gate_up_kernel, launch, place_kernel)


class Peer:
    most_tokens = math.inf
    counted = True  # among those that the best is of

    def variants(self, case):  # to choose from
        del case
        return [None]

    def all_variants(self):
        return [None]

    def rule_out(self, variant):
        del variant


class TritonPeer(Peer):
    name = "triton"

    def __init__(self, shape, layers, device):
        self.shape, self.layers = shape, layers
        self.counts = torch.zeros(EXPERTS_AT_MOST, dtype=torch.int32, device=device)
        self.wrong = set()  # or refused by the device

    def variants(self, case):
        s = self.shape
        each = case.tokens * s.top_k / s.experts
        found = next(configs for most, configs in CONFIGS if each <= most)
        alone = ALONE if case.tokens * s.top_k <= 64 else []
        return [c for c in alone + found if c not in self.wrong]

    def rule_out(self, variant):
        self.wrong.add(variant)
        self.counts.zero_()  # it may have stopped half way

    def all_variants(self):
        return list(dict.fromkeys(ALONE + [c for _, configs in CONFIGS for c in configs]))

    def run(self, case, layer, c, launch=launch):
        s, weights, route = self.shape, self.layers[layer], case.routes[layer]
        entries, device = case.tokens * s.top_k, case.x.device

        def new(*size, dtype=torch.int32):
            return torch.empty(size, dtype=dtype, device=device)

        if c.sort:
            blocks = min(entries, (entries + s.experts * (c.block_m - 1)) // c.block_m)
            ranks, slots = new(entries), new(blocks * c.block_m)
            block_expert, num_blocks = new(blocks), new(1)
            chunks = triton.cdiv(entries, 128)
            launch(count_kernel, (chunks,), route.ids32, self.counts, ranks, entries, BLOCK=128)
            launch(place_kernel, (max(chunks, s.experts),), route.ids32, self.counts, ranks, slots,
                   block_expert, num_blocks, entries, s.experts, c.block_m, BLOCK=128,
                   EXPERTS=EXPERTS_AT_MOST)
        else:
            blocks, block_expert = entries, route.ids32
            slots, num_blocks = case.alone(entries)
        hot = new(blocks * c.block_m, s.inter, dtype=case.x.dtype)
        rows, out = new(entries, s.hidden, dtype=case.x.dtype), torch.empty_like(case.x)
        meta = {"BLOCK_M": c.block_m, "BLOCK_K": c.block_k, "GROUP_M": c.group_m,
                "num_warps": c.warps, "num_stages": c.stages}
        launch(gate_up_kernel, (blocks * (s.inter // c.gate_n),), case.x, weights.gate_up, hot,
               slots, block_expert, num_blocks, entries, s.top_k, s.hidden, s.inter,
               BLOCK_N=c.gate_n, **meta)
        launch(down_kernel, (blocks * (s.hidden // c.down_n),), hot, weights.down, rows,
               route.scale, slots, block_expert, num_blocks, entries, s.inter, s.hidden,
               BLOCK_N=c.down_n, **meta)
        block = min(1024, s.hidden)
        launch(combine_kernel, (case.tokens, s.hidden // block), rows, out, self.counts, s.hidden,
               TOP_K=s.top_k, BLOCK=block, EXPERTS=EXPERTS_AT_MOST)
        return out

    def compile(self, case):
        """All configurations, side by side; one that fails says so when it is run."""
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            with triton.AsyncCompileMode(pool, ignore_errors=True):
                for config in reversed(self.all_variants()):  # the slowest first
                    self.run(case, 0, config, launch=compile_only)


class TorchPeer(Peer):
    name = "torch._grouped_mm"

    def __init__(self, shape, layers, device):
        self.shape, self.layers = shape, layers
        self.experts = torch.arange(shape.experts, device=device)

    def run(self, case, layer, _):
        s, weights, route = self.shape, self.layers[layer], case.routes[layer]
        ids, order = route.ids.view(-1).sort(stable=True)
        ends = torch.searchsorted(ids, self.experts, right=True, out_int32=True)
        rows = case.x[order // s.top_k]
        hot = silu_mul(torch._grouped_mm(rows, weights.gate_up.transpose(1, 2), offs=ends))
        hot.mul_(route.scale.view(-1)[order, None])  # here, where rows are short
        rows = torch._grouped_mm(hot, weights.down.transpose(1, 2), offs=ends)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        return rows[place].view(case.tokens, s.top_k, s.hidden).sum(1)  # adds up in float32


class TransformersPeer(Peer):
    def __init__(self, shape, layers, implementation):
        from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

        self.name = f"transformers {implementation}"
        if implementation == "batched_mm":  # copies the weights of every entry
            self.most_tokens = 8
        config = Qwen3MoeConfig(hidden_size=shape.hidden, moe_intermediate_size=shape.inter,
                                num_experts=shape.experts, num_experts_per_tok=shape.top_k)
        config._experts_implementation = implementation
        self.modules = []
        for weights in layers:
            with torch.device("meta"):
                module = Qwen3MoeExperts(config)
            for name, value in (("gate_up_proj", weights.gate_up), ("down_proj", weights.down)):
                if getattr(module, name).shape != value.shape:
                    raise ValueError(f"{name} of Qwen3MoeExperts is laid out differently")
                setattr(module, name, torch.nn.Parameter(value, requires_grad=False))
            self.modules.append(module)

    def run(self, case, layer, _):
        route = case.routes[layer]
        return self.modules[layer](case.x, route.ids, route.scale16)


class SharedExpert(Peer):
    """No peer: what the shared expert adds, which bench moe counts in."""
    name = "shared expert"
    counted = False

    def __init__(self, layers):
        self.layers = layers

    def run(self, case, layer, _):
        weights = self.layers[layer]
        return F.linear(silu_mul(F.linear(case.x, weights.shared_gate_up)), weights.shared_down)
