// SPDX-License-Identifier: Apache-2.0
// SelectKeys: as many rows at a time as have room for their scores. Threads first share runs of
// pages of all these rows, then the choices: of each one finds the greatest scores.
#include "runtime/cpu/key_selection.h"

#include <algorithm>
#include <numeric>

#include "runtime/cpu/greatest_scores.h"
#include "runtime/cpu/recurrence.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/key_selection.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/attention_kernel-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_KEY_SELECTION_ONCE_
#define FOLKMOOT_RUNTIME_CPU_KEY_SELECTION_ONCE_
namespace folkmoot::cpu {

// A row that cannot see all keys before it.
struct SelectingRow {
  const AttentionSequence* sequence;
  int64_t row;    // of the batch
  int64_t keys;   // up to its own
  float* scores;  // [sets, keys]
};

// Scores of the pages first .. first + pages of a row.
struct SelectionUnit {
  const SelectingRow* row;
  int64_t first;
  int64_t pages;
};

struct SelectionJob {
  const KeySelectionParams* params;
  ConstMatrix q;
  ConstMatrix weights;
  const KvCache* keys;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_KEY_SELECTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// use(head, scores of sixteen positions) for each head in turn.
template <typename Use>
HWY_INLINE void ScoreHeads(const SelectionJob& job, int64_t row, const float* keys,
                           const Use& use) {
  const int64_t head_dim = job.keys->shape().head_dim;
  HWY_ALIGN float lanes[kScoreTile][kGroup];
  Query queries[kScoreTile] = {};
  for (int64_t r = 0; r < kScoreTile; ++r) queries[r].scores = lanes[r];
  for (int64_t head = 0; head < job.params->heads; head += kScoreTile) {
    const int64_t count = std::min(kScoreTile, job.params->heads - head);
    for (int64_t r = 0; r < count; ++r) queries[r].q = job.q.Row(row) + (head + r) * head_dim;
    ScoreGroupOf(count, keys, queries, head_dim, job.params->scale, 0);
    for (int64_t r = 0; r < count; ++r) use(head + r, lanes[r]);
  }
}

// Sums over heads. NaN stays NaN on every machine, which its maximum with 0 might not.
HWY_INLINE void IndexScores(const SelectionJob& job, int64_t row, const float* keys, float* out) {
  const DF d;
  const float* const weights = job.weights.Row(row);
  Block sums = ZeroBlock();
  ScoreHeads(job, row, keys, [&](int64_t head, const float* scores) HWY_ATTR {
    const VF weight = hn::Set(d, weights[head]);
    for (size_t v = 0; v < kVectors; ++v) {
      const VF score = hn::Load(d, scores + v * kVector);
      const VF kept = hn::IfThenZeroElse(hn::Lt(score, hn::Zero(d)), score);
      sums.v[v] = Fma(weight, kept, sums.v[v]);
    }
  });
  StoreBlockN(sums, out, kLanes);
}

// `wide` has room for a group of keys.
void RunSelectionUnit(const SelectionJob& job, const SelectionUnit& run, float* wide) {
  const int64_t block_size = job.keys->shape().block_size;
  const SelectingRow& row = *run.row;
  AttentionUnit unit = {};
  unit.cache = job.keys;
  unit.layer = job.params->layer;
  unit.shape = &job.keys->layer(unit.layer);
  unit.blocks = row.sequence->blocks;
  unit.wide = wide;
  HWY_ALIGN float lanes[kGroup];
  for (int64_t page = run.first; page < run.first + run.pages; ++page) {
    const std::byte* const keys = unit.Keys(page);
    for (int64_t offset = 0; offset < block_size; offset += kGroup) {
      const int64_t position = page * block_size + offset;
      if (position >= row.keys) return;
      const float* const group = WideKeys(unit, keys, offset);
      // Behind a group that is not full another thread may write.
      const int64_t count = std::min({kGroup, block_size - offset, row.keys - position});
      if (job.params->block > 0) {
        ScoreHeads(job, row.row, group, [&](int64_t head, const float* scores) HWY_ATTR {
          std::copy_n(scores, count, row.scores + head * row.keys + position);
        });
        continue;
      }
      IndexScores(job, row.row, group, lanes);
      std::copy_n(lanes, count, row.scores + position);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunSelectionUnit);

constexpr int64_t kPositionsOfUnit = 512;

int64_t PagesOfUnit(int64_t block_size) {
  return std::max<int64_t>(1, kPositionsOfUnit / block_size);
}

// Scores and choices of rows whose scores have memory.
void SelectForRows(ThreadPool& pool, const SelectionJob& job, std::span<const SelectingRow> rows,
                   Workspace& workspace, const ChosenKeys& chosen) {
  const int64_t block_size = job.keys->shape().block_size;
  const int64_t pages_of_unit = PagesOfUnit(block_size);
  const auto pages_of = [block_size](const SelectingRow& row) {
    return (row.keys + block_size - 1) / block_size;
  };
  int64_t count = 0;
  int64_t longest = 0;
  for (const SelectingRow& row : rows) {
    count += (pages_of(row) + pages_of_unit - 1) / pages_of_unit;
    longest = std::max(longest, row.keys);
  }
  const std::span<SelectionUnit> units = workspace.Get<SelectionUnit>(count);
  size_t made = 0;
  for (const SelectingRow& row : rows) {
    const int64_t pages = pages_of(row);
    for (int64_t page = 0; page < pages; page += pages_of_unit) {
      units[made++] = {&row, page, std::min(pages_of_unit, pages - page)};
    }
  }
  const int64_t wide = job.keys->shape().head_dim * KvCache::kGroup;
  float* const wides = workspace.Get<float>(wide * pool.threads()).data();
  pool.ParallelFor(count, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t u = begin; u < end; ++u) {
      HWY_DYNAMIC_DISPATCH(RunSelectionUnit)
      (job, units[static_cast<size_t>(u)], wides + thread * wide);
    }
  });
  const BlocksOfKeys blocks = {.size = std::max<int64_t>(job.params->block, 1),
                               .local = job.params->local_blocks};
  const int64_t room = OrdersFor(longest, blocks);
  uint32_t* const orders = workspace.Get<uint32_t>(room * pool.threads()).data();
  pool.ParallelFor(std::ssize(rows) * chosen.sets, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const SelectingRow& row = rows[static_cast<size_t>(i / chosen.sets)];
      const int64_t set = i % chosen.sets;
      KeepGreatest({row.scores + set * row.keys, static_cast<size_t>(row.keys)}, blocks,
                   orders + thread * room, row.row * chosen.sets + set, chosen);
    }
  });
}

}  // namespace

void SelectKeys(ThreadPool& pool, const KeySelectionParams& params,
                std::span<const AttentionSequence> sequences, ConstMatrix q, ConstMatrix weights,
                const KvCache& keys, Workspace& workspace, const ChosenKeys& chosen) {
  const Workspace::Position mark = workspace.Mark();
  const SelectionJob job = {&params, q, weights, &keys};
  std::fill(chosen.counts.begin(), chosen.counts.end(), 0);
  const std::span<SelectingRow> all = workspace.Get<SelectingRow>(q.rows);
  size_t count = 0;
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t r = 0; r < sequence.rows; ++r) {
      const int64_t seen = sequence.start + r + 1;
      if (seen > chosen.most) all[count++] = {&sequence, sequence.first_row + r, seen, nullptr};
    }
  }
  ForQueriesWithRoom(
      workspace, all.first(count), [&](const SelectingRow& row) { return row.keys * chosen.sets; },
      [&](std::span<const SelectingRow> rows) {
        SelectForRows(pool, job, rows, workspace, chosen);
      });
  workspace.Release(mark);
}

void ExpandPools(ThreadPool& pool, int64_t size, std::span<const AttentionSequence> sequences,
                 const ChosenKeys& pools, const ChosenKeys& chosen) {
  std::fill(chosen.counts.begin(), chosen.counts.end(), 0);
  const auto expand = [&](const AttentionSequence& sequence, int64_t row) {
    const std::span<const int32_t> own = pools.Of(row, 0);
    if (own.empty()) return;
    int32_t* const first = chosen.positions.data() + row * chosen.most;
    int32_t* to = first;
    for (const int32_t place : own) {
      std::iota(to, to + size, place * static_cast<int32_t>(size));
      to += size;
    }
    const int64_t seen = sequence.start + row - sequence.first_row + 1;
    std::iota(to, to + seen % size, static_cast<int32_t>(seen - seen % size));
    to += seen % size;
    chosen.counts[static_cast<size_t>(row)] = static_cast<int32_t>(to - first);
  };
  ForSequenceRows(pool, std::ssize(pools.counts), chosen.most, sequences, expand);
}

void ChooseBesidePrompt(ThreadPool& pool, int64_t window,
                        std::span<const AttentionSequence> sequences, const ChosenKeys& chosen) {
  std::fill(chosen.counts.begin(), chosen.counts.end(), 0);
  const auto choose = [&](const AttentionSequence& sequence, int64_t row) {
    const int64_t first = sequence.start + row - sequence.first_row - window + 1;  // of the window
    if (first <= sequence.prompt) return;
    int32_t* const to = chosen.positions.data() + row * chosen.most;
    std::iota(to, to + sequence.prompt, 0);
    std::iota(to + sequence.prompt, to + sequence.prompt + window, static_cast<int32_t>(first));
    chosen.counts[static_cast<size_t>(row)] = static_cast<int32_t>(sequence.prompt + window);
  };
  ForSequenceRows(pool, std::ssize(chosen.counts), chosen.most, sequences, choose);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
