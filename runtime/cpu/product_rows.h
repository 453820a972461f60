// SPDX-License-Identifier: Apache-2.0
// Rows of activations as products want them, the other side of packed weights.
//
// Beside codes they are integers: per chunk of 16 or 32 values x = scale * q. With |q| < 2^15 a
// value is off by at most about 2^-16 of the largest in its chunk, far finer than the codes of
// weights, for the price of 8 bits on most machines: integer products are made in 16 bits there.
// (All values count as zero in a chunk whose largest is below 1e-30.)
//
// ActivationPrecision::kReduced takes |q| <= 127 beside codes, and bfloat16 beside BF16 weights.
// SumOrder::kNative takes bfloat16 for those weights always: at full precision a value is the sum
// of three.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cpu/code_panel.h"
#include "runtime/ops/gemm.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot::cpu {

// Chunks of 4-bit codes that tile registers take unpacked at a time: 16 KiB.
constexpr int64_t kTileBlockChunks = 16;

// Views into a workspace. A chunk that holds NaN or an infinity has scale NaN.
//
// Integers are 16-bit ones in the order of k, or bytes in the order of the panel's codes
// (code_pairs-inl.h); zeros behind k. For tile registers (code_tiles-inl.h) they are bytes, those
// of 16 bits twice: the lower bytes of a chunk, not signed, before its upper ones; a chunk of all
// rows comes before the next, and behind the last row are kTileRegisterRows - 1 that hold anything.
struct CodeRows {
  // Of kReduced where bytes can be multiplied. Elsewhere 8 bits are kept in 16, with the same sums.
  bool bytes = false;
  bool tiles = false;
  const std::byte* q = nullptr;
  int64_t stride = 0;        // bytes from a row to the next
  int64_t chunk_stride = 0;  // and from a chunk to the next
  const float* scales =
      nullptr;  // [rows, chunks]; of E2M1 codes half, which are doubled to integers
  const int32_t* sums = nullptr;  // [rows, chunks], of q
  int64_t chunks = 0;
  int64_t scale_stride = 0;  // tiles: scales and sums are [chunks, scale_stride >= rows]

  CodeRows Rows(int64_t first) const {
    CodeRows rows = *this;
    rows.q += first * stride;
    rows.scales += first * (tiles ? 1 : chunks);
    rows.sums += first * (tiles ? 1 : chunks);
    return rows;
  }
  CodeRows Chunks(int64_t first) const {
    CodeRows rows = *this;
    rows.q += first * chunk_stride;
    rows.scales += first * (tiles ? scale_stride : 1);
    rows.sums += first * (tiles ? scale_stride : 1);
    return rows;
  }
};

// Rows whose sums live in the caller's scratch at a time, [rows][32] floats: 12 KiB of them, where
// they share L1 with a slice of the panel, and at most 32 KiB.
constexpr int64_t kRowBlock = 96;
constexpr int64_t kMostRowBlock = 256;

// A float32 is the sum of so many bfloat16, of 8 bits each.
constexpr int kFloatParts = 3;

// Rows of bfloat16 for tile registers (bf16_tiles-inl.h). Of each kDepth values of k the parts
// follow each other, the greatest first, and of a part all rows: 64 bytes each, zeros behind k.
// Behind the last row are as many that hold anything as fill a tile.
struct TileRows {
  static constexpr int64_t kDepth = 32;

  int parts = 0;  // 0: none such
  const std::byte* words = nullptr;
  int64_t part_stride = 0;  // bytes from a part to the next
};

struct ProductRows {
  // As given; or, with `pairs`, words of two bfloat16 that only look like floats: the even k in
  // the low half, as in a panel.
  ConstMatrix x;
  bool pairs = false;
  TileRows tiles = {};
  int64_t row_block = kRowBlock;  // rows that meet a panel before the next panel's turn
  CodePanelShape shape = {};      // of the panels, when the weights are codes
  CodeRows codes;
};
// `together`: of those rows, how many meet a panel of w, or of others like it, on average. It
// decides between layouts and not about bits.
ProductRows PrepareRows(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, int64_t together,
                        Workspace& workspace);

}  // namespace folkmoot::cpu
