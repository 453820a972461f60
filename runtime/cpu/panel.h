// SPDX-License-Identifier: Apache-2.0
// One panel of weights against a block of rows: the unit of work of every matrix product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/cpu/product_rows.h"
#include "runtime/ops/gemm.h"

namespace folkmoot::cpu {

// The rows of a product, cut into equal blocks of at most `most` (ProductRows::row_block), of whole
// tiles but the last.
struct RowBlocks {
  static constexpr int64_t kTile = 16;  // the tallest: code_tiles-inl.h
  static_assert(kRowBlock % kTile == 0 && kMostRowBlock % kTile == 0);

  RowBlocks(int64_t rows_in, int64_t most) : rows(rows_in), blocks((rows + most - 1) / most) {}
  int64_t First(int64_t block) const {
    return std::min(rows, (rows * block / blocks + kTile - 1) / kTile * kTile);
  }

  int64_t rows;
  int64_t blocks;
};

// sums [count][32] = rows row .. row + count of `in` times panel `panel` of w, whatever w holds.
// count <= in.row_block; sums is 64-byte aligned.
void RunPanel(const PackedMatrix& w, int64_t panel, const ProductRows& in, int64_t row,
              int64_t count, float* sums);

}  // namespace folkmoot::cpu
