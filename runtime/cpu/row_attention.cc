// SPDX-License-Identifier: Apache-2.0
// RowAttention: a unit of work is some heads of one query. Threads take units from one counter, the
// last rows first, since these see most.
#include "runtime/cpu/row_attention.h"

#include <algorithm>
#include <atomic>

#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/row_attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/attention_kernel-inl.h"
#include "runtime/cpu/row_products-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_ROW_ATTENTION_ONCE_
#define FOLKMOOT_RUNTIME_CPU_ROW_ATTENTION_ONCE_
namespace folkmoot::cpu {

inline constexpr int64_t kRowHeads = 8;   // of a unit
inline constexpr int64_t kRowChunk = 64;  // rows that stay in cache for all heads of a unit

struct RowAttentionJob {
  const RowAttentionParams* params;
  ConstMatrix q;
  const RowPages* pages;
  Matrix out;
  int64_t score_floats;  // per head

  int64_t stride() const { return pages->stride(params->tokens); }
  // Of one thread: queries and sums of all heads, their scores, and a chunk of widened rows.
  int64_t scratch_floats() const {
    return kRowHeads * (2 * stride() + score_floats) + kRowChunk * stride();
  }
};

struct RowAttentionUnit {
  const AttentionSequence* sequence;
  int64_t row;  // of the sequence's in this step
  int64_t first_head;
  int64_t heads;
};

// What a query sees: `entries` rows of that track, all up to there or those chosen, and then the
// tokens from first_token on.
struct SeenRows {
  const RowAttentionJob* job;
  std::span<const int32_t> blocks;
  std::span<const int32_t> chosen;
  int64_t entries;
  int64_t first_token;
  int64_t count;

  const std::byte* Row(int64_t place) const {
    const RowAttentionParams& params = *job->params;
    if (place >= entries) {
      return job->pages->Row(params.tokens, blocks, first_token + place - entries);
    }
    const int64_t entry = chosen.empty() ? place : chosen[static_cast<size_t>(place)];
    return job->pages->Row(params.entries, blocks, entry);
  }
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_ROW_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Rows begin .. begin + count of what is seen, in float32; `wide` has room for a chunk.
HWY_INLINE void WideRows(const SeenRows& seen, int64_t begin, int64_t count, float* wide,
                         const float** rows) {
  const RowAttentionJob& job = *seen.job;
  const DType dtype = job.pages->track(job.params->tokens).dtype;
  const int64_t stride = job.stride();
  for (int64_t i = 0; i < count; ++i) {
    rows[i] = WideRow(seen.Row(begin + i), dtype, stride, wide + i * stride);
  }
}

// sums[column ..] += weight * row over the rows of a chunk, for kQueries heads, 16 columns.
template <int kQueries>
HWY_INLINE void AddRowColumns(const float* const* rows, int64_t count, const float* weights,
                              int64_t weight_stride, int64_t column, int64_t stride, float* sums) {
  const DF d;
  VF total[kQueries][kVectors];
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      total[r][v] = hn::LoadU(d, sums + r * stride + column + v * kVector);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    VF x[kVectors];
    for (size_t v = 0; v < kVectors; ++v) x[v] = hn::LoadU(d, rows[i] + column + v * kVector);
    for (int r = 0; r < kQueries; ++r) {
      const VF weight = hn::Set(d, weights[r * weight_stride + i]);
      for (size_t v = 0; v < kVectors; ++v) total[r][v] = Fma(weight, x[v], total[r][v]);
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(total[r][v], d, sums + r * stride + column + v * kVector);
    }
  }
}

template <int kQueries = kRowTile>
HWY_INLINE void AddRows(int64_t heads, const float* const* rows, int64_t count,
                        const float* weights, int64_t weight_stride, int64_t stride, float* sums) {
  if constexpr (kQueries > 1) {
    if (heads < kQueries) {
      return AddRows<kQueries - 1>(heads, rows, count, weights, weight_stride, stride, sums);
    }
  }
  for (int64_t column = 0; column < stride; column += kGroup) {
    AddRowColumns<kQueries>(rows, count, weights, weight_stride, column, stride, sums);
  }
}

SeenRows SeenBy(const RowAttentionJob& job, const RowAttentionUnit& unit) {
  const RowAttentionParams& params = *job.params;
  const int64_t self = unit.sequence->start + unit.row;
  SeenRows seen = {.job = &job, .blocks = unit.sequence->blocks};
  seen.first_token = std::max<int64_t>(0, self - params.window + 1);
  if (params.entries >= 0) {
    seen.entries = (self + 1) / job.pages->track(params.entries).rate;
    if (params.chosen != nullptr) {
      seen.chosen = params.chosen->Of(unit.sequence->first_row + unit.row, 0);
    }
    if (!seen.chosen.empty()) seen.entries = std::ssize(seen.chosen);
  }
  seen.count = seen.entries + self + 1 - seen.first_token;
  return seen;
}

void RunRowAttentionUnit(const RowAttentionJob& job, const RowAttentionUnit& unit, float* scratch) {
  const RowAttentionParams& params = *job.params;
  const int64_t width = job.pages->track(params.tokens).width;
  const int64_t stride = job.stride();
  const int64_t row = unit.sequence->first_row + unit.row;
  float* const q = scratch;
  float* const sums = q + kRowHeads * stride;
  float* const scores = sums + kRowHeads * stride;
  float* const wide = scores + kRowHeads * job.score_floats;
  PadQueries(job.q.Row(row) + unit.first_head * width, unit.heads, width, stride, q);
  std::fill_n(sums, unit.heads * stride, 0.0f);
  const SeenRows seen = SeenBy(job, unit);
  const float* rows[kRowChunk];
  const auto for_chunks = [&](auto each) {
    for (int64_t begin = 0; begin < seen.count; begin += kRowChunk) {
      const int64_t count = std::min(kRowChunk, seen.count - begin);
      WideRows(seen, begin, count, wide, rows);
      for (int64_t h = 0; h < unit.heads; h += kRowTile) {
        each(begin, count, h, std::min(kRowTile, unit.heads - h));
      }
    }
  };
  for_chunks([&](int64_t begin, int64_t count, int64_t first, int64_t heads) {
    float products[kRowTile];
    for (int64_t i = 0; i < count; ++i) {
      RowProductsOf(heads, rows[i], q + first * stride, stride, products);
      for (int64_t h = 0; h < heads; ++h) {
        scores[(first + h) * job.score_floats + begin + i] = products[h] * params.scale;
      }
    }
  });
  float inverse[kRowHeads];
  for (int64_t h = 0; h < unit.heads; ++h) {
    Query query = {};
    query.scores = scores + h * job.score_floats;
    query.last = seen.count - 1;
    query.sink = params.sinks[static_cast<size_t>(unit.first_head + h)];
    inverse[h] = Softmax(query, 0);
  }
  for_chunks([&](int64_t begin, int64_t count, int64_t first, int64_t heads) {
    AddRows(heads, rows, count, scores + first * job.score_floats + begin, job.score_floats, stride,
            sums + first * stride);
  });
  for (int64_t h = 0; h < unit.heads; ++h) {
    float* const out = job.out.Row(row) + (unit.first_head + h) * width;
    for (int64_t c = 0; c < width; ++c) out[c] = sums[h * stride + c] * inverse[h];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunRowAttentionUnit);

// Unit `index` of the whole batch, counted from the last row of the last sequence.
RowAttentionUnit UnitAt(const RowAttentionParams& params,
                        std::span<const AttentionSequence> sequences, int64_t index) {
  const int64_t parts = (params.heads + kRowHeads - 1) / kRowHeads;
  size_t s = sequences.size() - 1;
  for (; index >= sequences[s].rows * parts; --s) index -= sequences[s].rows * parts;
  const int64_t first = index % parts * kRowHeads;
  return {.sequence = &sequences[s],
          .row = sequences[s].rows - 1 - index / parts,
          .first_head = first,
          .heads = std::min(kRowHeads, params.heads - first)};
}

}  // namespace

void RowAttention(ThreadPool& pool, const RowAttentionParams& params,
                  std::span<const AttentionSequence> sequences, ConstMatrix q,
                  const RowPages& pages, Workspace& workspace, Matrix out) {
  int64_t most = 0;
  for (const AttentionSequence& s : sequences) {
    const int64_t length = s.start + s.rows;
    int64_t entries = params.entries < 0 ? 0 : length / pages.track(params.entries).rate;
    if (params.chosen != nullptr) entries = std::min(entries, params.chosen->most);
    most = std::max(most, std::min(length, params.window) + entries);
  }
  const int64_t units = q.rows * ((params.heads + kRowHeads - 1) / kRowHeads);
  if (units == 0) return;
  const Workspace::Position mark = workspace.Mark();
  RowAttentionJob job = {&params, q, &pages, out, 0};
  // The softmax pads scores to a whole group.
  job.score_floats = (most + 2 * RowPages::kGroup) / RowPages::kGroup * RowPages::kGroup;
  float* const scratch = workspace.Get<float>(job.scratch_floats() * pool.threads()).data();
  std::atomic<int64_t> next{0};
  pool.ParallelFor(std::min<int64_t>(units, pool.threads()), 1, [&](int64_t, int64_t, int thread) {
    for (int64_t u = next.fetch_add(1); u < units; u = next.fetch_add(1)) {
      HWY_DYNAMIC_DISPATCH(RunRowAttentionUnit)
      (job, UnitAt(params, sequences, u), scratch + thread * job.scratch_floats());
    }
  });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
