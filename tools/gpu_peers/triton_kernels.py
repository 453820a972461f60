# SPDX-License-Identifier: Apache-2.0
"""The kernels of a fused MoE in Triton and the tiles they are tried with."""
import math
from typing import NamedTuple

import triton
import triton.language as tl


# The fused MoE in Triton. An entry is one expert of one token: entry / top_k is its token. Slots
# are the rows of the tiles: an entry, or the number of entries where a tile is padded.

@triton.jit(do_not_specialize=["entries"])
def count_kernel(ids, counts, ranks, entries, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    expert = tl.load(ids + i, mask=i < entries, other=0)
    rank = tl.atomic_add(counts + expert, 1, mask=i < entries, sem="relaxed")
    tl.store(ranks + i, rank, mask=i < entries)


@triton.jit(do_not_specialize=["entries", "experts", "block_m"])
def place_kernel(ids, counts, ranks, slots, block_expert, num_blocks, entries, experts, block_m,
                 BLOCK: tl.constexpr, EXPERTS: tl.constexpr):
    pid = tl.program_id(0)
    e = tl.arange(0, EXPERTS)
    count = tl.load(counts + e, mask=e < experts, other=0)
    blocks = (count + block_m - 1) // block_m
    first = tl.cumsum(blocks, 0) - blocks
    i = pid * BLOCK + tl.arange(0, BLOCK)
    expert = tl.load(ids + i, mask=i < entries, other=0)
    rank = tl.load(ranks + i, mask=i < entries, other=0)
    start = tl.sum(tl.where(expert[:, None] == e[None, :], first[None, :], 0), 1)
    tl.store(slots + start * block_m + rank, i, mask=i < entries)
    if pid < experts:  # this expert's tiles, and what pads its last
        my_first = tl.sum(tl.where(e == pid, first, 0), 0)
        my_blocks = tl.sum(tl.where(e == pid, blocks, 0), 0)
        pad = tl.sum(tl.where(e == pid, count, 0), 0) + tl.arange(0, 128)
        tl.store(slots + my_first * block_m + pad, pad * 0 + entries,
                 mask=pad < my_blocks * block_m)
        for b in range(0, my_blocks, 128):
            mine = b + tl.arange(0, 128)
            tl.store(block_expert + my_first + mine, mine * 0 + pid, mask=mine < my_blocks)
    if pid == 0:
        tl.store(num_blocks, tl.sum(blocks, 0))


@triton.jit
def tile_of(pid, num_m, num_n, block_expert, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
            GROUP_M: tl.constexpr):
    """Rows, columns and expert of a tile."""
    first = pid // (GROUP_M * num_n) * GROUP_M
    height = tl.minimum(num_m - first, GROUP_M)
    within = pid % (GROUP_M * num_n)
    m, n = first + within % height, within // height
    return (m * BLOCK_M + tl.arange(0, BLOCK_M), n * BLOCK_N + tl.arange(0, BLOCK_N),
            tl.load(block_expert + m).to(tl.int64))


@triton.jit(do_not_specialize=["entries", "top_k"])
def gate_up_kernel(x, weights, out, slots, block_expert, num_blocks, entries, top_k, hidden, inter,
                   BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                   GROUP_M: tl.constexpr):
    num_m = tl.load(num_blocks)
    num_n = inter // BLOCK_N
    pid = tl.program_id(0)
    if pid >= num_m * num_n:
        return
    rows, cols, expert = tile_of(pid, num_m, num_n, block_expert, BLOCK_M, BLOCK_N, GROUP_M)
    k = tl.arange(0, BLOCK_K)
    entry = tl.load(slots + rows)
    token = tl.where(entry < entries, entry, 0) // top_k  # padding computes what nobody reads
    x_at = x + token[:, None] * hidden + k[None, :]
    gate_at = weights + expert * (2 * inter * hidden) + (cols[None, :] * hidden + k[:, None])
    up_at = gate_at + inter * hidden
    gate = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    up = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, hidden, BLOCK_K):
        tile = tl.load(x_at)
        gate = tl.dot(tile, tl.load(gate_at), gate)
        up = tl.dot(tile, tl.load(up_at), up)
        x_at += BLOCK_K
        gate_at += BLOCK_K
        up_at += BLOCK_K
    value = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out + rows[:, None] * inter + cols[None, :], value.to(out.dtype.element_ty))


@triton.jit(do_not_specialize=["entries"])
def down_kernel(x, weights, out, scale, slots, block_expert, num_blocks, entries, inter, hidden,
                BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                GROUP_M: tl.constexpr):
    num_m = tl.load(num_blocks)
    num_n = hidden // BLOCK_N
    pid = tl.program_id(0)
    if pid >= num_m * num_n:
        return
    rows, cols, expert = tile_of(pid, num_m, num_n, block_expert, BLOCK_M, BLOCK_N, GROUP_M)
    k = tl.arange(0, BLOCK_K)
    x_at = x + rows[:, None] * inter + k[None, :]
    w_at = weights + expert * (hidden * inter) + (cols[None, :] * inter + k[:, None])
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, inter, BLOCK_K):
        acc = tl.dot(tl.load(x_at), tl.load(w_at), acc)
        x_at += BLOCK_K
        w_at += BLOCK_K
    entry = tl.load(slots + rows)
    valid = entry < entries
    acc *= tl.load(scale + entry, mask=valid, other=0.0)[:, None]
    tl.store(out + entry[:, None] * hidden + cols[None, :], acc.to(out.dtype.element_ty),
             mask=valid[:, None])


@triton.jit
def combine_kernel(x, out, counts, hidden, TOP_K: tl.constexpr, BLOCK: tl.constexpr,
                   EXPERTS: tl.constexpr):
    token = tl.program_id(0)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), tl.float32)
    for j in tl.static_range(TOP_K):
        acc += tl.load(x + (token * TOP_K + j) * hidden + cols).to(tl.float32)
    tl.store(out + token * hidden + cols, acc.to(out.dtype.element_ty))
    if token + tl.program_id(1) == 0:  # for the next layer's count_kernel
        tl.store(counts + tl.arange(0, EXPERTS), tl.zeros((EXPERTS,), tl.int32))


class Config(NamedTuple):
    block_m: int
    gate_n: int  # of gate, and as many of up
    down_n: int
    block_k: int
    group_m: int
    warps: int
    stages: int
    sort: bool = True  # False: a tile per entry, nothing to sort


S32 = Config(16, 32, 32, 128, 4, 4, 5)
S64 = Config(16, 64, 64, 128, 4, 4, 4)
S128 = Config(16, 128, 128, 64, 4, 4, 4)
M32 = Config(32, 64, 64, 128, 4, 4, 4)
N32 = Config(32, 128, 128, 64, 4, 4, 4)
M64 = Config(64, 64, 128, 64, 8, 4, 4)
N64 = Config(64, 128, 256, 64, 8, 8, 3)
M128 = Config(128, 64, 128, 64, 8, 4, 3)
N128 = Config(128, 128, 256, 64, 8, 8, 3)
DEEP128 = N128._replace(stages=4)
ALONE = [S32._replace(sort=False), S64._replace(sort=False)]
# By the tokens that an expert has on average, up to the first number.
CONFIGS = [(4, [S32, S64, S128]), (16, [S64, S128, M32, N32]), (32, [M32, N32, M64, N64]),
           (64, [N32, M64, N64, M128]), (math.inf, [N64, M128, N128, DEEP128])]
EXPERTS_AT_MOST = 256


def launch(kernel, grid, *args, **meta):
    kernel[grid](*args, **meta)


def compile_only(kernel, grid, *args, **meta):
    kernel.warmup(*args, grid=grid, **meta)
