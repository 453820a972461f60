// SPDX-License-Identifier: Apache-2.0
// SelectRows: as many queries at a time as have room for their scores. Threads first share runs of
// rows of all these queries, then the queries, of each of which one finds the greatest scores.
#include <algorithm>

#include "runtime/cpu/greatest_scores.h"
#include "runtime/cpu/row_attention.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/row_selection.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/row_products-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_ROW_SELECTION_ONCE_
#define FOLKMOOT_RUNTIME_CPU_ROW_SELECTION_ONCE_
namespace folkmoot::cpu {

// A query that cannot see all rows.
struct RowScores {
  const AttentionSequence* sequence;
  int64_t row;  // of the batch
  int64_t count;
  float* scores;
};

// Scores of rows first .. first + count.
struct RowScoreUnit {
  const RowScores* query;
  int64_t first;
  int64_t count;
};

struct RowScoreJob {
  const RowSelectionParams* params;
  ConstMatrix q;
  ConstMatrix weights;
  const RowPages* pages;

  // Of one thread: the queries of all heads, and a row.
  int64_t scratch_floats() const { return (params->heads + 1) * pages->stride(params->track); }
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_ROW_SELECTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// NaN stays NaN on every machine, which its maximum with 0 might not.
void RunRowScoreUnit(const RowScoreJob& job, const RowScoreUnit& unit, float* scratch) {
  const RowSelectionParams& params = *job.params;
  const RowPages::Track& track = job.pages->track(params.track);
  const int64_t stride = job.pages->stride(params.track);
  float* const wide = scratch + params.heads * stride;
  PadQueries(job.q.Row(unit.query->row), params.heads, track.width, stride, scratch);
  const float* const weights = job.weights.Row(unit.query->row);
  for (int64_t i = unit.first; i < unit.first + unit.count; ++i) {
    const std::byte* const stored = job.pages->Row(params.track, unit.query->sequence->blocks, i);
    const float* const row = WideRow(stored, track.dtype, stride, wide);
    float sum = 0;
    for (int64_t head = 0; head < params.heads; head += kRowTile) {
      const int64_t count = std::min(kRowTile, params.heads - head);
      float products[kRowTile];
      RowProductsOf(count, row, scratch + head * stride, stride, products);
      for (int64_t h = 0; h < count; ++h) {
        const float score = products[h] * params.scale;
        sum += weights[head + h] * (score < 0 ? 0.0f : score);
      }
    }
    unit.query->scores[i] = sum;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunRowScoreUnit);

// Scores and choices of queries whose scores have memory.
void SelectForQueries(ThreadPool& pool, const RowScoreJob& job, std::span<const RowScores> queries,
                      Workspace& workspace, const ChosenKeys& chosen) {
  constexpr int64_t kRowsOfUnit = 256;
  int64_t count = 0;
  int64_t longest = 0;
  for (const RowScores& query : queries) {
    count += (query.count + kRowsOfUnit - 1) / kRowsOfUnit;
    longest = std::max(longest, query.count);
  }
  const std::span<RowScoreUnit> units = workspace.Get<RowScoreUnit>(count);
  size_t made = 0;
  for (const RowScores& query : queries) {
    for (int64_t first = 0; first < query.count; first += kRowsOfUnit) {
      units[made++] = {&query, first, std::min(kRowsOfUnit, query.count - first)};
    }
  }
  float* const scratch = workspace.Get<float>(job.scratch_floats() * pool.threads()).data();
  pool.ParallelFor(count, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t u = begin; u < end; ++u) {
      HWY_DYNAMIC_DISPATCH(RunRowScoreUnit)
      (job, units[static_cast<size_t>(u)], scratch + thread * job.scratch_floats());
    }
  });
  const BlocksOfKeys single;
  const int64_t room = OrdersFor(longest, single);
  uint32_t* const orders = workspace.Get<uint32_t>(room * pool.threads()).data();
  pool.ParallelFor(std::ssize(queries), 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const RowScores& query = queries[static_cast<size_t>(i)];
      KeepGreatest({query.scores, static_cast<size_t>(query.count)}, single, orders + thread * room,
                   query.row, chosen);
    }
  });
}

}  // namespace

void SelectRows(ThreadPool& pool, const RowSelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const RowPages& pages, Workspace& workspace, const ChosenKeys& chosen) {
  const Workspace::Position mark = workspace.Mark();
  const RowScoreJob job = {&params, q, weights, &pages};
  const int64_t rate = pages.track(params.track).rate;
  std::fill(chosen.counts.begin(), chosen.counts.end(), 0);
  const std::span<RowScores> all = workspace.Get<RowScores>(q.rows);
  size_t count = 0;
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t r = 0; r < sequence.rows; ++r) {
      const int64_t seen = (sequence.start + r + 1) / rate;
      if (seen > chosen.most) all[count++] = {&sequence, sequence.first_row + r, seen, nullptr};
    }
  }
  ForQueriesWithRoom(
      workspace, all.first(count), [](const RowScores& query) { return query.count; },
      [&](std::span<const RowScores> queries) {
        SelectForQueries(pool, job, queries, workspace, chosen);
      });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
