// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/causal_convolution.h"

#include <algorithm>

#include "runtime/check.h"
#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/causal_convolution.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Channels c .. end of a run, at most a block of them.
void ConvolveBlock(const CausalConvolution& convolution, const ChannelRun& run,
                   const float* const* inputs, const float* taps, int64_t c, int64_t end,
                   float* out) {
  const float* weights = convolution.weights.data() + run.channel;
  Block sum = ZeroBlock();
  for (int64_t j = 0; j < convolution.rows; ++j) {
    if (inputs[j] == nullptr) continue;
    const Block x = LoadBlockN(inputs[j] + c, end - c);
    Block w = LoadBlockN(weights + j * convolution.channels + c, end - c);
    if (taps != nullptr) {
      const VF tap = hn::Set(DF(), taps[convolution.rows - 1 - j]);
      for (size_t v = 0; v < kVectors; ++v) w.v[v] = hn::Add(w.v[v], tap);
    }
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(w.v[v], x.v[v], sum.v[v]);
  }
  if (!convolution.bias.empty()) {
    const Block bias = LoadBlockN(convolution.bias.data() + run.channel + c, end - c);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = hn::Add(sum.v[v], bias.v[v]);
  }
  if (convolution.activation) {
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Activate(*convolution.activation, sum.v[v]);
  }
  StoreBlockN(sum, out + c, end - c);
}

// inputs[j] is input j of these channels, null before the sequence begins; taps are those of all
// heads, or null.
void ConvolveRun(const CausalConvolution& convolution, const ChannelRun& run,
                 const float* const* inputs, const float* taps, float* out) {
  const int64_t heads = taps == nullptr ? 1 : convolution.taps.cols / convolution.rows;
  const int64_t width = run.width / heads;
  for (int64_t head = 0; head < heads; ++head) {
    const float* const own = taps == nullptr ? nullptr : taps + head * convolution.rows;
    const int64_t end = (head + 1) * width;
    for (int64_t c = head * width; c < end; c += kLanes) {
      ConvolveBlock(convolution, run, inputs, own, c, end, out);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(ConvolveRun);

// The inputs of `run` at row `row` of the sequence: of this step, remembered, or none.
const float* InputsAt(const ConvolutionJob& job, const AttentionSequence& sequence, int64_t row,
                      const ChannelRun& run) {
  if (row >= 0) return job.inputs.Row(sequence.first_row + row) + run.column;
  if (sequence.start == 0) return nullptr;
  const CausalConvolution& convolution = *job.convolution;
  return job.state->Inputs(job.layer, sequence.slot) + convolution.first_input +
         (convolution.reach() + row) * convolution.channels + run.channel;
}

void Remember(const ConvolutionJob& job, const AttentionSequence& sequence) {
  const CausalConvolution& convolution = *job.convolution;
  float* const memory = job.state->Inputs(job.layer, sequence.slot) + convolution.first_input;
  for (int64_t i = 0; i < convolution.reach(); ++i) {  // in this order, older rows move down
    for (const ChannelRun& run : job.runs) {
      float* const to = memory + i * convolution.channels + run.channel;
      const float* from = InputsAt(job, sequence, sequence.rows - convolution.reach() + i, run);
      if (from == nullptr) {
        std::fill_n(to, run.width, 0.0f);
      } else {
        std::copy_n(from, run.width, to);
      }
    }
  }
}

}  // namespace

void ConvolveRow(const ConvolutionJob& job, const AttentionSequence& sequence, int64_t row,
                 float* out) {
  const CausalConvolution& convolution = *job.convolution;
  FM_CHECK(convolution.rows <= kMostConvolutionRows);
  const int64_t first = row - convolution.reach();
  const float* const taps =
      convolution.taps.data == nullptr ? nullptr : convolution.taps.Row(sequence.first_row + row);
  for (const ChannelRun& run : job.runs) {
    const float* inputs[kMostConvolutionRows];
    for (int64_t j = 0; j < convolution.rows; ++j) {
      inputs[j] = InputsAt(job, sequence, first + j * convolution.dilation, run);
    }
    HWY_DYNAMIC_DISPATCH(ConvolveRun)(convolution, run, inputs, taps, out + run.channel);
  }
}

void RememberInputs(ThreadPool& pool, const ConvolutionJob& job,
                    std::span<const AttentionSequence> sequences) {
  pool.ParallelFor(std::ssize(sequences), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; ++s) Remember(job, sequences[static_cast<size_t>(s)]);
  });
}

void Convolve(ThreadPool& pool, const CausalConvolution& convolution, int64_t layer,
              std::span<const AttentionSequence> sequences, ConstMatrix inputs,
              RecurrentState& state, Matrix out) {
  const ChannelRun all = {.width = convolution.channels};
  const ConvolutionJob job = {.convolution = &convolution,
                              .runs = {&all, 1},
                              .inputs = inputs,
                              .state = &state,
                              .layer = layer};
  ForSequenceRows(pool, out.rows, convolution.channels, sequences,
                  [&](const AttentionSequence& sequence, int64_t t) {
                    ConvolveRow(job, sequence, t - sequence.first_row, out.Row(t));
                  });
  RememberInputs(pool, job, sequences);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
