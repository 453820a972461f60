// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/convolved_heads.h"

#include "runtime/check.h"
#include "runtime/cpu/convolved_heads.h"
#include "runtime/ops/causal_convolution.h"

namespace folkmoot {

void MakeHeadWindows(ThreadPool& pool, const HeadWindows& windows,
                     std::span<const AttentionSequence> sequences, ConstMatrix inputs,
                     RecurrentState& state, Matrix out) {
  const RecurrentState::LayerShape& shape = state.shape().layer;
  FM_CHECK(windows.rows > 0 && windows.rows <= kMostConvolutionRows && windows.columns > 0);
  FM_CHECK(std::ssize(windows.before) == windows.columns && shape.memory == windows.memory());
  FM_CHECK(inputs.cols == windows.columns && out.cols == windows.columns * windows.rows);
  FM_CHECK(inputs.rows == out.rows);
  CheckRecurrence(state, shape, windows.layer, sequences, inputs.rows);
  cpu::MakeHeadWindows(pool, windows, sequences, inputs, state, out);
}

void AddHeadMeans(ThreadPool& pool, int64_t head_dim, int64_t queries, ConstMatrix projected,
                  Matrix out) {
  FM_CHECK(head_dim > 0 && queries > 0 && out.cols % (head_dim * (queries + 1)) == 0);
  FM_CHECK(projected.rows == out.rows && projected.cols == out.cols);
  cpu::AddHeadMeans(pool, head_dim, queries, projected, out);
}

}  // namespace folkmoot
