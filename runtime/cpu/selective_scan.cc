// SPDX-License-Identifier: Apache-2.0
// The selective scan of Mamba. A unit of work is some channels of one sequence, over all its rows:
// channels know nothing of each other, so that one sequence uses all threads.
#include "runtime/cpu/selective_scan.h"

#include <algorithm>

#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/selective_scan.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_SELECTIVE_SCAN_ONCE_
#define FOLKMOOT_RUNTIME_CPU_SELECTIVE_SCAN_ONCE_
namespace folkmoot::cpu {

constexpr int64_t kChannelsOfUnit = 64;

struct SelectiveScanJob {
  const SelectiveScanParams* params;
  const SelectiveScanRows* rows;
  RecurrentState* state;
  Matrix out;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_SELECTIVE_SCAN_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// ln(1 + e^x) = max(x, 0) + ln(1 + t) for t = e^-|x|, and ln(1 + t) = 2 atanh(u) for u = t / (2 +
// t), which is at most 1/3: eight terms of its series are good for a float.
HWY_INLINE VF Softplus(VF x) {
  const DF d;
  const VF t = Exp(hn::Neg(hn::Abs(x)));
  const VF u = hn::Div(t, hn::Add(t, hn::Set(d, 2.0f)));
  const VF square = hn::Mul(u, u);
  VF sum = hn::Set(d, 1.0f / 15);
  for (const float next : {1.0f / 13, 1.0f / 11, 1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3, 1.0f}) {
    sum = Fma(sum, square, hn::Set(d, next));
  }
  const VF positive = hn::IfThenElse(hn::Gt(x, hn::Zero(d)), x, hn::Zero(d));
  return Fma(hn::Add(u, u), sum, positive);
}

// Sixteen channels from `channel` on, over all rows of a sequence.
void ScanLanes(const SelectiveScanJob& job, const AttentionSequence& sequence, int64_t channel) {
  const SelectiveScanShape& shape = job.params->shape;
  const SelectiveScanRows& rows = *job.rows;
  const int64_t count = shape.channels - channel;
  const int64_t stride = shape.stride();
  const float* const rates = job.params->rates.data() + channel;
  float* const memory = job.state->Memory(job.params->layer, sequence.slot) + channel;
  if (sequence.start == 0) {
    for (int64_t i = 0; i < shape.state_dim; ++i) std::fill_n(memory + i * stride, kLanes, 0.0f);
  }
  const DF d;
  const Block skip = LoadBlockN(job.params->skip.data() + channel, count);
  for (int64_t t = sequence.first_row; t < sequence.first_row + sequence.rows; ++t) {
    const Block x = LoadBlockN(rows.x.Row(t) + channel, count);
    const Block z = LoadBlockN(rows.z.Row(t) + channel, count);
    const Block steps = LoadBlockN(rows.steps.Row(t) + channel, count);
    const float* const b = rows.b.Row(t);
    const float* const c = rows.c.Row(t);
    Block out;
    for (size_t v = 0; v < kVectors; ++v) {
      const VF step = Softplus(steps.v[v]);
      const VF taken = hn::Mul(step, x.v[v]);
      VF read = hn::Zero(d);
      for (int64_t i = 0; i < shape.state_dim; ++i) {
        const auto at = i * stride + static_cast<int64_t>(v * kVector);
        const VF decay = Exp(hn::Mul(hn::LoadU(d, rates + at), step));
        const VF kept = hn::Mul(decay, hn::LoadU(d, memory + at));
        const VF next = Fma(hn::Set(d, b[i]), taken, kept);
        hn::StoreU(next, d, memory + at);
        read = Fma(next, hn::Set(d, c[i]), read);
      }
      read = Fma(skip.v[v], x.v[v], read);
      out.v[v] = hn::Mul(read, TimesSigmoid(z.v[v], z.v[v]));
    }
    StoreBlockN(out, job.out.Row(t) + channel, count);
  }
}

void ScanChannels(const SelectiveScanJob& job, const AttentionSequence& sequence, int64_t channel) {
  const int64_t end = std::min(channel + kChannelsOfUnit, job.params->shape.channels);
  for (; channel < end; channel += static_cast<int64_t>(kLanes)) ScanLanes(job, sequence, channel);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(ScanChannels);
}  // namespace

void SelectiveScan(ThreadPool& pool, const SelectiveScanParams& params,
                   std::span<const AttentionSequence> sequences, const SelectiveScanRows& rows,
                   RecurrentState& state, Matrix out) {
  const SelectiveScanJob job = {.params = &params, .rows = &rows, .state = &state, .out = out};
  ForHeadColumns(pool, sequences, 1, params.shape.channels, kChannelsOfUnit,
                 [&](const AttentionSequence& sequence, int64_t, int64_t channel) {
                   HWY_DYNAMIC_DISPATCH(ScanChannels)(job, sequence, channel);
                 });
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
