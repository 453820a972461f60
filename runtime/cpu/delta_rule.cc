// SPDX-License-Identifier: Apache-2.0
// GatedDeltaRule in three passes: rows by themselves (convolution, lengths of q and k, gates);
// heads by themselves, row after row; rows by themselves again (norm and gate of what heads give).
// In the second pass a unit of work is some columns of S of one value head of one sequence: every
// column of S has a recurrence of its own. Threads take units from one counter, since sequences
// differ in length.
#include "runtime/cpu/delta_rule.h"

#include <algorithm>
#include <cmath>

#include "runtime/cpu/causal_convolution.h"
#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#include "runtime/exact_math.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/delta_rule.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/activation-inl.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_DELTA_RULE_ONCE_
#define FOLKMOOT_RUNTIME_CPU_DELTA_RULE_ONCE_
namespace folkmoot::cpu {

constexpr int64_t kMostColumns = 64;  // of S in a unit: sums of these stay in registers

struct DeltaJob {
  const DeltaRuleParams* params;
  ConstMatrix projected;
  RecurrentState* state;
  Matrix mixed;  // [T, channels]: q, k, v behind the convolution
  Matrix gates;  // [T, value_heads * (decays + 1)]: decays and beta of each value head in turn
  Matrix out;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_DELTA_RULE_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// x / sqrt(sum of squares + 1e-6) * factor.
void NormaliseLength(int64_t n, float factor, float* x) {
  constexpr float kEps = 1e-6f;
  const DF d;
  Block sum = ZeroBlock();
  for (int64_t i = 0; i < n; i += kLanes) {
    const Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(block.v[v], block.v[v], sum.v[v]);
  }
  const VF scale = hn::Set(d, 1.0f / std::sqrt(SumLanes(sum) + kEps));
  const VF further = hn::Set(d, factor);
  for (int64_t i = 0; i < n; i += kLanes) {
    Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = hn::Mul(hn::Mul(block.v[v], scale), further);
    }
    StoreBlockN(block, x + i, n - i);
  }
}

// S = decay * S, one decay for all rows or one for each; known = S^T k. Rows of S are `stride`
// apart.
template <int64_t kBlocks, bool kKeyDecays>
HWY_INLINE void Forget(float* memory, int64_t stride, int64_t key_dim, const float* decays,
                       const float* k, Block (&known)[kBlocks]) {
  const DF d;
  for (Block& block : known) block = ZeroBlock();
  for (int64_t i = 0; i < key_dim; ++i) {
    float* row = memory + i * stride;
    const VF decay = hn::Set(d, decays[kKeyDecays ? i : 0]);
    const VF key = hn::Set(d, k[i]);
    for (Block& block : known) {
      for (VF& sum : block.v) {
        const VF kept = hn::Mul(decay, hn::LoadU(d, row));
        hn::StoreU(kept, d, row);
        sum = Fma(kept, key, sum);
        row += kVector;
      }
    }
  }
}

// S += k change^T; asked = S^T q.
template <int64_t kBlocks>
HWY_INLINE void Correct(float* memory, int64_t stride, int64_t key_dim, const float* k,
                        const Block (&change)[kBlocks], const float* q, Block (&asked)[kBlocks]) {
  const DF d;
  for (Block& block : asked) block = ZeroBlock();
  for (int64_t i = 0; i < key_dim; ++i) {
    float* row = memory + i * stride;
    const VF key = hn::Set(d, k[i]);
    const VF query = hn::Set(d, q[i]);
    for (int64_t b = 0; b < kBlocks; ++b) {
      for (size_t j = 0; j < kVectors; ++j) {
        const VF corrected = Fma(key, change[b].v[j], hn::LoadU(d, row));
        hn::StoreU(corrected, d, row);
        asked[b].v[j] = Fma(corrected, query, asked[b].v[j]);
        row += kVector;
      }
    }
  }
}

// Columns `column` .. of S of value head `head`, kBlocks blocks of them, over all rows.
template <int64_t kBlocks, bool kKeyDecays>
void Recur(const DeltaJob& job, const AttentionSequence& sequence, int64_t head, int64_t column) {
  const DF d;
  const DeltaHeads& heads = job.params->heads;
  const int64_t stride = heads.value_stride();
  const int64_t key_head = head / heads.group;
  float* const memory =
      job.state->Memory(job.params->layer, sequence.slot) + head * heads.key_dim * stride + column;
  if (sequence.start == 0) {
    for (int64_t i = 0; i < heads.key_dim; ++i) {
      std::fill_n(memory + i * stride, kBlocks * static_cast<int64_t>(kLanes), 0.0f);
    }
  }
  for (int64_t t = sequence.first_row; t < sequence.first_row + sequence.rows; ++t) {
    const float* q = job.mixed.Row(t) + key_head * heads.key_dim;
    const float* k = q + heads.keys();
    const float* v = job.mixed.Row(t) + 2 * heads.keys() + head * heads.value_dim + column;
    float* out = job.out.Row(t) + head * heads.value_dim + column;
    const int64_t count = kKeyDecays ? heads.key_dim : 1;
    const float* decays = job.gates.Row(t) + head * (count + 1);
    const VF beta = hn::Set(d, decays[count]);
    Block known[kBlocks];
    Forget<kBlocks, kKeyDecays>(memory, stride, heads.key_dim, decays, k, known);
    Block change[kBlocks];
    for (int64_t b = 0; b < kBlocks; ++b) {
      const int64_t at = b * static_cast<int64_t>(kLanes);
      const Block wanted = LoadBlockN(v + at, heads.value_dim - column - at);
      for (size_t j = 0; j < kVectors; ++j) {
        change[b].v[j] = hn::Mul(beta, hn::Sub(wanted.v[j], known[b].v[j]));
      }
    }
    Block asked[kBlocks];
    Correct<kBlocks>(memory, stride, heads.key_dim, k, change, q, asked);
    for (int64_t b = 0; b < kBlocks; ++b) {
      const int64_t at = b * static_cast<int64_t>(kLanes);
      StoreBlockN(asked[b], out + at, heads.value_dim - column - at);
    }
  }
}

template <bool kKeyDecays>
HWY_INLINE void RecurWide(const DeltaJob& job, const AttentionSequence& sequence, int64_t head,
                          int64_t column) {
  constexpr auto kBlock = static_cast<int64_t>(kLanes);
  const int64_t columns = std::min(kMostColumns, job.params->heads.value_stride() - column);
  if (columns == kMostColumns) {
    return Recur<kMostColumns / kBlock, kKeyDecays>(job, sequence, head, column);
  }
  for (int64_t c = 0; c < columns; c += kBlock) {
    Recur<1, kKeyDecays>(job, sequence, head, column + c);
  }
}

void RecurColumns(const DeltaJob& job, const AttentionSequence& sequence, int64_t head,
                  int64_t column) {
  if (job.params->key_decays) return RecurWide<true>(job, sequence, head, column);
  RecurWide<false>(job, sequence, head, column);
}

// One value head: RmsNorm(x) * silu(z) or sigmoid(z).
void NormGatedHead(const DeltaRuleParams& params, const float* z, float* x) {
  const DF d;
  const int64_t n = params.heads.value_dim;
  Block sum = ZeroBlock();
  for (int64_t i = 0; i < n; i += kLanes) {
    const Block block = LoadBlockN(x + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(block.v[v], block.v[v], sum.v[v]);
  }
  const float mean = SumLanes(sum) / static_cast<float>(n);
  const VF scale = hn::Set(d, 1.0f / std::sqrt(mean + params.norm_eps));
  for (int64_t i = 0; i < n; i += kLanes) {
    Block block = LoadBlockN(x + i, n - i);
    const Block weight = LoadBlockN(params.norm.data() + i, n - i);
    const Block gate = LoadBlockN(z + i, n - i);
    for (size_t v = 0; v < kVectors; ++v) {
      const VF normal = hn::Mul(hn::Mul(block.v[v], scale), weight.v[v]);
      const VF factor = params.sigmoid_gate ? hn::Set(d, 1.0f) : gate.v[v];
      block.v[v] = hn::Mul(normal, TimesSigmoid(factor, gate.v[v]));
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
HWY_EXPORT(NormaliseLength);
HWY_EXPORT(NormGatedHead);
HWY_EXPORT(RecurColumns);

// q, k and v of each key head are inputs of the convolution.
std::span<const ChannelRun> RunsOf(const DeltaRuleParams& params, Workspace& workspace) {
  const DeltaHeads& heads = params.heads;
  const int64_t values = heads.group * heads.value_dim;
  const std::span<ChannelRun> runs = workspace.Get<ChannelRun>(3 * heads.key_heads);
  for (int64_t h = 0; h < heads.key_heads; ++h) {
    const auto column = [h](const HeadColumns& of) { return of.first + h * of.stride; };
    ChannelRun* const run = runs.data() + 3 * h;
    run[0] = {column(params.columns.q), h * heads.key_dim, heads.key_dim};
    run[1] = {column(params.columns.k), heads.keys() + h * heads.key_dim, heads.key_dim};
    run[2] = {column(params.columns.v), 2 * heads.keys() + h * values, values};
  }
  return runs;
}

// Of a row of S: what is kept of it.
float Decay(double rate, double step, double bound) {
  const double log =
      bound < 0 ? bound * exact::Sigmoid(rate * step) : -(rate * exact::Softplus(step));
  return static_cast<float>(exact::Exp(log));
}

void SetGates(const DeltaRuleParams& params, const float* projected, float* gates) {
  const DeltaHeads& heads = params.heads;
  const int64_t decays = params.decays();
  for (int64_t h = 0; h < heads.value_heads(); ++h) {
    const int64_t key_head = h / heads.group;
    const auto at = [&](const HeadColumns& columns, int64_t width) {
      return projected + columns.first + key_head * columns.stride + h % heads.group * width;
    };
    const float* a = at(params.columns.a, decays);
    const float* bias = params.step_bias.data() + h * decays;
    const auto rate = static_cast<double>(params.rates[static_cast<size_t>(h)]);
    for (int64_t i = 0; i < decays; ++i) {
      const double step = static_cast<double>(a[i]) + static_cast<double>(bias[i]);
      *gates++ = Decay(rate, step, static_cast<double>(params.decay_bound));
    }
    *gates++ = static_cast<float>(exact::Sigmoid(static_cast<double>(*at(params.columns.b, 1))));
  }
}

void PrepareRow(const DeltaJob& job, const ConvolutionJob& convolution,
                const AttentionSequence& sequence, int64_t t) {
  const DeltaHeads& heads = job.params->heads;
  float* const mixed = job.mixed.Row(t);
  ConvolveRow(convolution, sequence, t - sequence.first_row, mixed);
  const float query_scale = 1.0f / std::sqrt(static_cast<float>(heads.key_dim));
  for (int64_t h = 0; h < 2 * heads.key_heads; ++h) {
    const float factor = h < heads.key_heads ? query_scale : 1.0f;
    HWY_DYNAMIC_DISPATCH(NormaliseLength)(heads.key_dim, factor, mixed + h * heads.key_dim);
  }
  SetGates(*job.params, job.projected.Row(t), job.gates.Row(t));
}

}  // namespace

void GatedDeltaRule(ThreadPool& pool, const DeltaRuleParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix projected,
                    RecurrentState& state, Workspace& workspace, Matrix out) {
  const DeltaHeads& heads = params.heads;
  if (sequences.empty()) return;
  const Workspace::Position mark = workspace.Mark();
  const DeltaJob job = {
      .params = &params,
      .projected = projected,
      .state = &state,
      .mixed = workspace.GetMatrix(out.rows, heads.channels()),
      .gates = workspace.GetMatrix(out.rows, heads.value_heads() * (params.decays() + 1)),
      .out = out};
  const ConvolutionJob convolution = {.convolution = &params.convolution,
                                      .runs = RunsOf(params, workspace),
                                      .inputs = projected,
                                      .state = &state,
                                      .layer = params.layer};
  const auto for_rows = [&](auto each) {
    ForSequenceRows(pool, out.rows, heads.channels(), sequences, each);
  };
  for_rows([&](const AttentionSequence& sequence, int64_t t) {
    PrepareRow(job, convolution, sequence, t);
  });
  RememberInputs(pool, convolution, sequences);
  ForHeadColumns(pool, sequences, heads.value_heads(), heads.value_dim, kMostColumns,
                 [&](const AttentionSequence& sequence, int64_t head, int64_t column) {
                   HWY_DYNAMIC_DISPATCH(RecurColumns)(job, sequence, head, column);
                 });
  for_rows([&](const AttentionSequence&, int64_t t) {
    for (int64_t h = 0; h < heads.value_heads(); ++h) {
      const int64_t z = params.columns.z.first + h / heads.group * params.columns.z.stride +
                        h % heads.group * heads.value_dim;
      HWY_DYNAMIC_DISPATCH(NormGatedHead)
      (params, projected.Row(t) + z, out.Row(t) + h * heads.value_dim);
    }
  });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
