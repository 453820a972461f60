// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/panel.h"

#define HWY_WANT_AVX3_DL  // code_pairs-inl.h
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/panel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/bf16_tiles-inl.h"
#include "runtime/cpu/code_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

static_assert(CodePanelShape::kCols == PackedMatrix::kPanel);

void RunPanelOf(const PackedMatrix& w, int64_t panel, const ProductRows& in, int64_t row,
                int64_t count, float* sums) {
#if HWY_TARGET == HWY_AVX3_DL
  if (in.tiles.parts > 0) {
    return RunBf16TilePanel(w.panel(panel), in.tiles, row, count, w.k(), sums);
  }
#endif
  const PanelRows rows{in.x.Row(row), in.x.stride, count};
  if (in.pairs) {
    return HasBf16Products()
               ? RunPanel<BF16PairsPanel<true>>(w.panel(panel), rows, in.x.cols, sums)
               : RunPanel<BF16PairsPanel<false>>(w.panel(panel), rows, in.x.cols, sums);
  }
  if (!w.codes()) return RunPanel(w.dtype(), w.panel(panel), rows, w.k(), sums);
  if (in.shape.type == CodeType::kFp8) {
    return RunFp8Panel(in.shape, w.panel(panel), rows, w.k(), sums);
  }
  RunCodePanel(in.shape, w.panel(panel), in.codes.Rows(row), count, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunPanelOf);
}  // namespace

void RunPanel(const PackedMatrix& w, int64_t panel, const ProductRows& in, int64_t row,
              int64_t count, float* sums) {
  HWY_DYNAMIC_DISPATCH(RunPanelOf)(w, panel, in, row, count, sums);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
