// SPDX-License-Identifier: Apache-2.0
// PoolWindows: a unit of work is some channels of one sequence, over all its rows.
#include "runtime/cpu/window_pooling.h"

#include <algorithm>
#include <limits>

#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/window_pooling.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_WINDOW_POOLING_ONCE_
#define FOLKMOOT_RUNTIME_CPU_WINDOW_POOLING_ONCE_
namespace folkmoot::cpu {

struct PoolingJob {
  const WindowPooling* pooling;
  ConstMatrix values;
  ConstMatrix gates;
  RowPages* pages;
  Matrix entries;
};

// Channels first .. first + count of a sequence, whose entries begin with row `entry`.
struct PoolingUnit {
  const AttentionSequence* sequence;
  int64_t entry;
  int64_t first;
  int64_t count;
};

// What an open window has taken up of some channels.
struct Pooled {
  float* top;  // the greatest gate
  float* sum;  // of e^(gate - top)
  float* weighted;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_WINDOW_POOLING_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kBlockLanes = static_cast<int64_t>(kLanes);

HWY_INLINE void Empty(const Pooled& pooled, int64_t count) {
  std::fill_n(pooled.top, count, -std::numeric_limits<float>::infinity());
  std::fill_n(pooled.sum, count, 0.0f);
  std::fill_n(pooled.weighted, count, 0.0f);
}

HWY_INLINE void CopyPooled(const Pooled& from, int64_t count, const Pooled& to) {
  std::copy_n(from.top, count, to.top);
  std::copy_n(from.sum, count, to.sum);
  std::copy_n(from.weighted, count, to.weighted);
}

// Another token of the window.
HWY_INLINE void TakeUp(const float* value, const float* gate, const float* bias, int64_t count,
                       const Pooled& pooled) {
  for (int64_t c = 0; c < count; c += kBlockLanes) {
    const int64_t n = std::min(kBlockLanes, count - c);
    const Block x = LoadBlockN(value + c, n);
    const Block z = LoadBlockN(gate + c, n);
    const Block b = LoadBlockN(bias + c, n);
    Block top = LoadBlockN(pooled.top + c, n);
    Block sum = LoadBlockN(pooled.sum + c, n);
    Block weighted = LoadBlockN(pooled.weighted + c, n);
    for (size_t v = 0; v < kVectors; ++v) {
      const VF score = hn::Add(z.v[v], b.v[v]);
      const VF higher = hn::Max(top.v[v], score);
      const VF kept = Exp(hn::Sub(top.v[v], higher));
      const VF added = Exp(hn::Sub(score, higher));
      sum.v[v] = Fma(sum.v[v], kept, added);
      weighted.v[v] = Fma(weighted.v[v], kept, hn::Mul(added, x.v[v]));
      top.v[v] = higher;
    }
    StoreBlockN(top, pooled.top + c, n);
    StoreBlockN(sum, pooled.sum + c, n);
    StoreBlockN(weighted, pooled.weighted + c, n);
  }
}

void RunPoolingUnit(const PoolingJob& job, const PoolingUnit& unit) {
  const WindowPooling& pooling = *job.pooling;
  const int64_t stride = RowPages::Padded(pooling.width);
  const int64_t block_size = job.pages->shape().block_size;
  const int64_t rate = pooling.rate;
  const auto pooled_of = [&](int64_t page, int64_t which) {
    std::byte* const row = job.pages->Row(pooling.track, unit.sequence->blocks, page);
    float* const at = reinterpret_cast<float*>(row) + which * kPooled * stride + unit.first;
    return Pooled{at, at + stride, at + 2 * stride};
  };
  int64_t entry = unit.entry;
  for (int64_t r = 0; r < unit.sequence->rows; ++r) {
    const int64_t position = unit.sequence->start + r;
    const int64_t page = position / block_size;
    const Pooled own = pooled_of(page, 0);
    const Pooled next = pooling.overlapping ? pooled_of(page, 1) : own;
    if (position > 0 && position % block_size == 0) {
      CopyPooled(pooled_of(page - 1, 0), unit.count, own);
      if (pooling.overlapping) CopyPooled(pooled_of(page - 1, 1), unit.count, next);
    }
    const int64_t place = position % rate;
    if (place == 0) {
      if (pooling.overlapping && position > 0) {
        CopyPooled(next, unit.count, own);
      } else {
        Empty(own, unit.count);
      }
      if (pooling.overlapping) Empty(next, unit.count);
    }
    const int64_t row = unit.sequence->first_row + r;
    const float* const value = job.values.Row(row) + unit.first;
    const float* const gate = job.gates.Row(row) + unit.first;
    const float* const bias = pooling.bias.data() + place * pooling.columns() + unit.first;
    const int64_t second = pooling.overlapping ? pooling.width : 0;
    TakeUp(value + second, gate + second, bias + second, unit.count, own);
    if (pooling.overlapping) TakeUp(value, gate, bias, unit.count, next);
    if (place < rate - 1) continue;
    float* const out = job.entries.Row(entry++) + unit.first;
    for (int64_t c = 0; c < unit.count; ++c) out[c] = own.weighted[c] / own.sum[c];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunPoolingUnit);
}  // namespace

void PoolWindows(ThreadPool& pool, const WindowPooling& pooling,
                 std::span<const AttentionSequence> sequences, ConstMatrix values,
                 ConstMatrix gates, RowPages& pages, Workspace& workspace, Matrix entries) {
  constexpr int64_t kColumns = 64;  // of a unit
  if (sequences.empty()) return;
  const Workspace::Position mark = workspace.Mark();
  const PoolingJob job = {&pooling, values, gates, &pages, entries};
  const std::span<int64_t> first_entries = workspace.Get<int64_t>(std::ssize(sequences));
  int64_t entry = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    first_entries[s] = entry;
    entry += CompletedRows(sequences.subspan(s, 1), pooling.rate);
  }
  ForHeadColumns(pool, sequences, 1, pooling.width, kColumns,
                 [&](const AttentionSequence& sequence, int64_t, int64_t column) {
                   const auto s = static_cast<size_t>(&sequence - sequences.data());
                   HWY_DYNAMIC_DISPATCH(RunPoolingUnit)
                   (job, {.sequence = &sequence,
                          .entry = first_entries[s],
                          .first = column,
                          .count = std::min(kColumns, pooling.width - column)});
                 });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
