// SPDX-License-Identifier: Apache-2.0
// Lightning attention in two passes: rows by themselves (the activation); heads by themselves, row
// after row. In the second pass a unit of work is some columns of S of one head of one sequence:
// columns know nothing of each other, so that one sequence uses all threads.
#include "runtime/cpu/lightning_attention.h"

#include <algorithm>

#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/lightning_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/decaying_state-inl.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_LIGHTNING_ATTENTION_ONCE_
#define FOLKMOOT_RUNTIME_CPU_LIGHTNING_ATTENTION_ONCE_
namespace folkmoot::cpu {

constexpr int64_t kMostValueColumns = 64;  // of S in a unit: sums of these stay in registers

struct LightningJob {
  const LightningParams* params;
  RecurrentState* state;
  ConstMatrix qkv;  // behind the activation
  Matrix out;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_LIGHTNING_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

void ActivateRow(Activation activation, int64_t n, float* x) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) block.v[v] = Activate(activation, block.v[v]);
    StoreBlockN(block, x + i, n - i);
  }
}

// Columns `column` .. of S of head `head`, kBlocks blocks of them, over all rows.
template <int64_t kBlocks>
void LightningBlocks(const LightningJob& job, const AttentionSequence& sequence, int64_t head,
                     int64_t column) {
  const LightningHeads& heads = job.params->heads;
  const int64_t dim = heads.head_dim;
  const int64_t stride = heads.value_stride();
  float* const memory =
      job.state->Memory(job.params->layer, sequence.slot) + head * dim * stride + column;
  if (sequence.start == 0) {
    for (int64_t i = 0; i < dim; ++i) {
      std::fill_n(memory + i * stride, kBlocks * static_cast<int64_t>(kLanes), 0.0f);
    }
  }
  const VF decay = hn::Set(DF(), job.params->decays[static_cast<size_t>(head)]);
  for (int64_t t = sequence.first_row; t < sequence.first_row + sequence.rows; ++t) {
    const float* q = job.qkv.Row(t) + head * 3 * dim;
    const float* k = q + dim;
    const float* v = k + dim + column;
    float* out = job.out.Row(t) + head * dim + column;
    Block values[kBlocks];
    for (int64_t n = 0; n < kBlocks; ++n) {
      const int64_t at = n * static_cast<int64_t>(kLanes);
      values[n] = LoadBlockN(v + at, dim - column - at);
    }
    Block read[kBlocks];
    TakeAndRead<kBlocks>(memory, stride, dim, decay, k, values, q, read);
    for (int64_t n = 0; n < kBlocks; ++n) {
      const int64_t at = n * static_cast<int64_t>(kLanes);
      StoreBlockN(read[n], out + at, dim - column - at);
    }
  }
}

void LightningColumns(const LightningJob& job, const AttentionSequence& sequence, int64_t head,
                      int64_t column) {
  constexpr auto kBlock = static_cast<int64_t>(kLanes);
  const int64_t columns = std::min(kMostValueColumns, job.params->heads.value_stride() - column);
  if (columns == kMostValueColumns) {
    return LightningBlocks<kMostValueColumns / kBlock>(job, sequence, head, column);
  }
  for (int64_t c = 0; c < columns; c += kBlock) {
    LightningBlocks<1>(job, sequence, head, column + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(ActivateRow);
HWY_EXPORT(LightningColumns);
}  // namespace

void LightningAttention(ThreadPool& pool, const LightningParams& params,
                        std::span<const AttentionSequence> sequences, Matrix qkv,
                        RecurrentState& state, Matrix out) {
  if (sequences.empty()) return;
  const LightningHeads& heads = params.heads;
  ForSequenceRows(pool, qkv.rows, qkv.cols, sequences, [&](const AttentionSequence&, int64_t t) {
    HWY_DYNAMIC_DISPATCH(ActivateRow)(params.activation, qkv.cols, qkv.Row(t));
  });
  const LightningJob job = {.params = &params, .state = &state, .qkv = qkv, .out = out};
  ForHeadColumns(pool, sequences, heads.heads, heads.head_dim, kMostValueColumns,
                 [&](const AttentionSequence& sequence, int64_t head, int64_t column) {
                   HWY_DYNAMIC_DISPATCH(LightningColumns)(job, sequence, head, column);
                 });
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
