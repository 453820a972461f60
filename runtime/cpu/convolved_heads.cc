// SPDX-License-Identifier: Apache-2.0
// Plain loops: the numbers are moved, not multiplied; the convolution's products are Gemm's.
#include "runtime/cpu/convolved_heads.h"

#include <algorithm>

#include "runtime/cpu/recurrence.h"

namespace folkmoot::cpu {
namespace {

struct WindowJob {
  const HeadWindows& windows;
  ConstMatrix inputs;
  RecurrentState& state;

  // Row `row` of this step's rows of `sequence`: of this step, remembered, or before the beginning.
  const float* InputsAt(const AttentionSequence& sequence, int64_t row) const {
    if (row >= 0) return inputs.Row(sequence.first_row + row);
    if (sequence.start == 0) return windows.before.data();
    return state.Memory(windows.layer, sequence.slot) + (windows.rows - 1 + row) * windows.columns;
  }
};

void FillWindow(const WindowJob& job, const AttentionSequence& sequence, int64_t row, float* out) {
  const int64_t rows = job.windows.rows;
  for (int64_t j = 0; j < rows; ++j) {
    const float* from = job.InputsAt(sequence, row - rows + 1 + j);
    for (int64_t c = 0; c < job.windows.columns; ++c) out[c * rows + j] = from[c];
  }
}

void RememberRows(const WindowJob& job, const AttentionSequence& sequence) {
  const HeadWindows& windows = job.windows;
  float* const memory = job.state.Memory(windows.layer, sequence.slot);
  for (int64_t i = 0; i + 1 < windows.rows; ++i) {  // in this order, older rows move down
    const float* from = job.InputsAt(sequence, sequence.rows - windows.rows + 1 + i);
    std::copy_n(from, windows.columns, memory + i * windows.columns);
  }
}

}  // namespace

void MakeHeadWindows(ThreadPool& pool, const HeadWindows& windows,
                     std::span<const AttentionSequence> sequences, ConstMatrix inputs,
                     RecurrentState& state, Matrix out) {
  const WindowJob job = {windows, inputs, state};
  ForSequenceRows(pool, out.rows, out.cols, sequences,
                  [&](const AttentionSequence& sequence, int64_t t) {
                    FillWindow(job, sequence, t - sequence.first_row, out.Row(t));
                  });
  pool.ParallelFor(std::ssize(sequences), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; ++s) RememberRows(job, sequences[static_cast<size_t>(s)]);
  });
}

void AddHeadMeans(ThreadPool& pool, int64_t head_dim, int64_t queries, ConstMatrix projected,
                  Matrix out) {
  const int64_t keys = out.cols / (head_dim * (queries + 1));
  const int64_t first_key = keys * queries * head_dim;
  constexpr int64_t kWorthAThread = 32768;  // numbers
  pool.ParallelFor(out.rows, kWorthAThread / out.cols + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t c = 0; c < keys * head_dim; ++c) {
        const int64_t first = c / head_dim * queries * head_dim + c % head_dim;  // query
        const float key = projected.Row(t)[first_key + c];
        float sum = 0.0f;
        for (int64_t i = 0; i < queries; ++i) {
          const float mean = (projected.Row(t)[first + i * head_dim] + key) * 0.5f;
          out.Row(t)[first + i * head_dim] += mean;
          sum += mean;
        }
        out.Row(t)[first_key + c] += sum / static_cast<float>(queries);
      }
    }
  });
}

}  // namespace folkmoot::cpu
