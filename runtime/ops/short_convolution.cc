// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/short_convolution.h"

#include "runtime/check.h"
#include "runtime/cpu/causal_convolution.h"
#include "runtime/cpu/recurrence.h"

namespace folkmoot {

void ShortConvolution(ThreadPool& pool, const ShortConvolutionParams& params,
                      std::span<const AttentionSequence> sequences, ConstMatrix projected,
                      RecurrentState& state, Workspace& workspace, Matrix out) {
  const int64_t channels = params.convolution.channels;
  CheckConvolution(params.convolution);
  FM_CHECK(projected.cols == 3 * channels);
  FM_CHECK(out.rows == projected.rows && out.cols == channels);
  CheckRecurrence(state, params.state(), params.layer, sequences, projected.rows);
  if (sequences.empty()) return;
  const Workspace::Position mark = workspace.Mark();
  const Matrix inputs = workspace.GetMatrix(out.rows, channels);
  const cpu::ChannelRun all = {.width = channels};
  const cpu::ConvolutionJob job = {.convolution = &params.convolution,
                                   .runs = {&all, 1},
                                   .inputs = inputs,
                                   .state = &state,
                                   .layer = params.layer};
  const auto for_rows = [&](auto each) {
    cpu::ForSequenceRows(pool, out.rows, channels, sequences, each);
  };
  for_rows([&](const AttentionSequence&, int64_t t) {
    const float* b = projected.Row(t);
    const float* x = b + 2 * channels;
    float* product = inputs.Row(t);
    for (int64_t c = 0; c < channels; ++c) product[c] = b[c] * x[c];
  });
  for_rows([&](const AttentionSequence& sequence, int64_t t) {
    const float* gate = projected.Row(t) + channels;
    float* row = out.Row(t);
    cpu::ConvolveRow(job, sequence, t - sequence.first_row, row);
    for (int64_t c = 0; c < channels; ++c) row[c] *= gate[c];
  });
  cpu::RememberInputs(pool, job, sequences);
  workspace.Release(mark);
}

}  // namespace folkmoot
