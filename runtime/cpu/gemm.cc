// SPDX-License-Identifier: Apache-2.0
// Gemm: units of (row block, panel) in that order, so that each thread walks one contiguous run of
// panels; the sums of a unit live on the thread's stack.
#include "runtime/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "runtime/cpu/panel.h"

namespace folkmoot::cpu {
namespace {

// Multiply-adds below which waking another thread costs more than it saves.
constexpr int64_t kMinWork = int64_t{1} << 16;
constexpr int64_t kCols = PackedMatrix::kPanel;

void StoreSums(const float* sums, const float* bias, int64_t cols, float* out) {
  if (bias == nullptr) {
    std::memcpy(out, sums, static_cast<size_t>(cols) * sizeof(float));
  } else {
    for (int64_t c = 0; c < cols; ++c) out[c] = sums[c] + bias[c];
  }
}

void RunUnit(const ProductRows& in, const PackedMatrix& w, std::span<const float> bias,
             int64_t unit, const Matrix& out) {
  alignas(64) float sums[kMostRowBlock * kCols];
  const RowBlocks blocks(in.x.rows, in.row_block);
  const int64_t block = unit / w.panels();
  const int64_t panel = unit % w.panels();
  const int64_t row = blocks.First(block);
  const int64_t rows = blocks.First(block + 1) - row;
  RunPanel(w, panel, in, row, rows, sums);
  const int64_t column = panel * kCols;
  const int64_t cols = std::min(kCols, w.n() - column);
  const float* panel_bias = bias.empty() ? nullptr : bias.data() + column;
  for (int64_t r = 0; r < rows; ++r) {
    StoreSums(sums + r * kCols, panel_bias, cols, out.Row(row + r) + column);
  }
}

}  // namespace

void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Workspace& workspace, Matrix out) {
  if (x.rows == 0) return;
  const Workspace::Position mark = workspace.Mark();
  const ProductRows in = PrepareRows(pool, x, w, x.rows, workspace);
  const int64_t blocks = RowBlocks(x.rows, in.row_block).blocks;
  const int64_t unit_work = x.rows * w.k() * kCols / blocks + 1;
  pool.ParallelFor(blocks * w.panels(), (kMinWork + unit_work - 1) / unit_work,
                   [&](int64_t begin, int64_t end, int) {
                     for (int64_t unit = begin; unit < end; ++unit) RunUnit(in, w, bias, unit, out);
                   });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
