// SPDX-License-Identifier: Apache-2.0
// Gemm: units of (row block, panel) in that order, so that each thread walks one contiguous run of
// panels; the sums of a unit live on the thread's stack.
#include "runtime/cpu/gemm.h"

#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/gemm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/code_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

int64_t RowBlocks(int64_t rows) { return (rows + kRowBlock - 1) / kRowBlock; }

void StoreSums(const float* sums, const float* bias, int64_t cols, float* out) {
  if (bias == nullptr) {
    std::memcpy(out, sums, static_cast<size_t>(cols) * sizeof(float));
  } else {
    for (int64_t c = 0; c < cols; ++c) out[c] = sums[c] + bias[c];
  }
}

void GemmUnits(const ProductRows& in, const PackedMatrix& w, std::span<const float> bias,
               int64_t begin, int64_t end, const Matrix& out) {
  HWY_ALIGN float sums[kRowBlock * kPanelCols];
  const ConstMatrix& x = in.x;
  const int64_t blocks = RowBlocks(x.rows);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t block = unit / w.panels();
    const int64_t panel = unit % w.panels();
    const int64_t row = x.rows * block / blocks;
    const int64_t rows = x.rows * (block + 1) / blocks - row;
    RunPanel(w, panel, in, row, rows, sums);
    const int64_t column = panel * kPanelCols;
    const int64_t cols = std::min(kPanelCols, w.n() - column);
    const float* panel_bias = bias.empty() ? nullptr : bias.data() + column;
    for (int64_t r = 0; r < rows; ++r) {
      StoreSums(sums + r * kPanelCols, panel_bias, cols, out.Row(row + r) + column);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RowBlocks);
HWY_EXPORT(GemmUnits);
// Multiply-adds below which waking another thread costs more than it saves.
constexpr int64_t kMinWork = int64_t{1} << 16;
}  // namespace

void Gemm(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, std::span<const float> bias,
          Workspace& workspace, Matrix out) {
  if (x.rows == 0) return;
  const Workspace::Position mark = workspace.Mark();
  const ProductRows in = PrepareRows(pool, x, w, workspace);
  const int64_t blocks = HWY_DYNAMIC_DISPATCH(RowBlocks)(x.rows);
  const int64_t unit_work = x.rows * w.k() * PackedMatrix::kPanel / blocks + 1;
  pool.ParallelFor(blocks * w.panels(), (kMinWork + unit_work - 1) / unit_work,
                   [&](int64_t begin, int64_t end, int) {
                     HWY_DYNAMIC_DISPATCH(GemmUnits)(in, w, bias, begin, end, out);
                   });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
