// SPDX-License-Identifier: Apache-2.0
// The state space of Mamba-2. A unit of work is some columns of S of one head of one sequence, over
// all its rows: columns know nothing of each other, so that one sequence uses all threads.
#include "runtime/cpu/state_space.h"

#include <algorithm>
#include <cmath>

#include "runtime/cpu/causal_convolution.h"
#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#include "runtime/exact_math.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/state_space.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/decaying_state-inl.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_STATE_SPACE_ONCE_
#define FOLKMOOT_RUNTIME_CPU_STATE_SPACE_ONCE_
namespace folkmoot::cpu {

constexpr int64_t kMostStateColumns = 64;  // of S in a unit: sums of these stay in registers

struct StateSpaceJob {
  const StateSpaceParams* params;
  RecurrentState* state;
  Matrix mixed;  // [T, channels]: x, B, C behind the convolution
  Matrix steps;  // [T, 2 * heads]: decay and dt of each head in turn
  Matrix out;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_STATE_SPACE_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Columns `column` .. of S of head `head`, kBlocks blocks of them, over all rows.
template <int64_t kBlocks>
void ScanBlocks(const StateSpaceJob& job, const AttentionSequence& sequence, int64_t head,
                int64_t column) {
  const DF d;
  const StateSpaceHeads& heads = job.params->heads;
  const int64_t stride = heads.value_stride();
  const int64_t group = head / heads.heads_per_group;
  float* const memory = job.state->Memory(job.params->layer, sequence.slot) +
                        head * heads.state_dim * stride + column;
  if (sequence.start == 0) {
    for (int64_t i = 0; i < heads.state_dim; ++i) {
      std::fill_n(memory + i * stride, kBlocks * static_cast<int64_t>(kLanes), 0.0f);
    }
  }
  const VF skip = hn::Set(d, job.params->skip[static_cast<size_t>(head)]);
  for (int64_t t = sequence.first_row; t < sequence.first_row + sequence.rows; ++t) {
    const float* x = job.mixed.Row(t) + head * heads.head_dim + column;
    const float* b = job.mixed.Row(t) + heads.values() + group * heads.state_dim;
    float* out = job.out.Row(t) + head * heads.head_dim + column;
    const VF decay = hn::Set(d, job.steps.Row(t)[2 * head]);
    const VF step = hn::Set(d, job.steps.Row(t)[2 * head + 1]);
    Block values[kBlocks];
    Block taken[kBlocks];
    for (int64_t n = 0; n < kBlocks; ++n) {
      const int64_t at = n * static_cast<int64_t>(kLanes);
      values[n] = LoadBlockN(x + at, heads.head_dim - column - at);
      for (size_t v = 0; v < kVectors; ++v) taken[n].v[v] = hn::Mul(step, values[n].v[v]);
    }
    Block read[kBlocks];
    TakeAndRead<kBlocks>(memory, stride, heads.state_dim, decay, b, taken, b + heads.states(),
                         read);
    for (int64_t n = 0; n < kBlocks; ++n) {
      const int64_t at = n * static_cast<int64_t>(kLanes);
      for (size_t v = 0; v < kVectors; ++v) {
        read[n].v[v] = Fma(skip, values[n].v[v], read[n].v[v]);
      }
      StoreBlockN(read[n], out + at, heads.head_dim - column - at);
    }
  }
}

void ScanColumns(const StateSpaceJob& job, const AttentionSequence& sequence, int64_t head,
                 int64_t column) {
  constexpr auto kBlock = static_cast<int64_t>(kLanes);
  const int64_t columns = std::min(kMostStateColumns, job.params->heads.value_stride() - column);
  if (columns == kMostStateColumns) {
    return ScanBlocks<kMostStateColumns / kBlock>(job, sequence, head, column);
  }
  for (int64_t c = 0; c < columns; c += kBlock) ScanBlocks<1>(job, sequence, head, column + c);
}

// x [n] becomes RmsNorm(x * silu(z)).
void NormGatedGroup(const float* weights, float eps, const float* z, int64_t n, float* x) {
  const DF d;
  Block sum = ZeroBlock();
  for (int64_t i = 0; i < n; i += kLanes) {
    Block block = LoadBlockN(x + i, n - i);
    const Block gate = LoadBlockN(z + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = hn::Mul(block.v[v], TimesSigmoid(gate.v[v], gate.v[v]));
      sum.v[v] = Fma(block.v[v], block.v[v], sum.v[v]);
    }
    StoreBlockN(block, x + i, n - i);
  }
  const VF scale = hn::Set(d, 1.0f / std::sqrt(SumLanes(sum) / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += kLanes) {
    Block block = LoadBlockN(x + i, n - i);
    const Block weight = LoadBlockN(weights + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = hn::Mul(weight.v[v], hn::Mul(block.v[v], scale));
    }
    StoreBlockN(block, x + i, n - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(NormGatedGroup);
HWY_EXPORT(ScanColumns);

void SetSteps(const StateSpaceParams& params, const float* dt, float* steps) {
  for (int64_t h = 0; h < params.heads.heads(); ++h) {
    const auto head = static_cast<size_t>(h);
    const double step =
        exact::Softplus(static_cast<double>(dt[h]) + static_cast<double>(params.step_bias[head]));
    steps[2 * h] = static_cast<float>(exact::Exp(-static_cast<double>(params.rates[head]) * step));
    steps[2 * h + 1] = static_cast<float>(step);
  }
}

}  // namespace

void StateSpace(ThreadPool& pool, const StateSpaceParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix projected,
                RecurrentState& state, Workspace& workspace, Matrix out) {
  if (sequences.empty()) return;
  const StateSpaceHeads& heads = params.heads;
  const Workspace::Position mark = workspace.Mark();
  const StateSpaceJob job = {.params = &params,
                             .state = &state,
                             .mixed = workspace.GetMatrix(out.rows, heads.channels()),
                             .steps = workspace.GetMatrix(out.rows, 2 * heads.heads()),
                             .out = out};
  const ChannelRun all = {.column = heads.values(), .channel = 0, .width = heads.channels()};
  const ConvolutionJob convolution = {.convolution = &params.convolution,
                                      .runs = {&all, 1},
                                      .inputs = projected,
                                      .state = &state,
                                      .layer = params.layer};
  const auto for_rows = [&](auto each) {
    ForSequenceRows(pool, out.rows, heads.channels(), sequences, each);
  };
  for_rows([&](const AttentionSequence& sequence, int64_t t) {
    ConvolveRow(convolution, sequence, t - sequence.first_row, job.mixed.Row(t));
    SetSteps(params, projected.Row(t) + heads.values() + heads.channels(), job.steps.Row(t));
  });
  RememberInputs(pool, convolution, sequences);
  ForHeadColumns(pool, sequences, heads.heads(), heads.head_dim, kMostStateColumns,
                 [&](const AttentionSequence& sequence, int64_t head, int64_t column) {
                   HWY_DYNAMIC_DISPATCH(ScanColumns)(job, sequence, head, column);
                 });
  for_rows([&](const AttentionSequence&, int64_t t) {
    for (int64_t c = 0; c < heads.values(); c += params.norm_width) {
      HWY_DYNAMIC_DISPATCH(NormGatedGroup)
      (params.norm.data() + c, params.norm_eps, projected.Row(t) + c, params.norm_width,
       out.Row(t) + c);
    }
  });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
