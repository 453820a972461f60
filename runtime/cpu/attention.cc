// SPDX-License-Identifier: Apache-2.0
// StoreKv and PagedAttention: a unit of work is a tile of queries of one sequence that share a head
// of keys and values. Threads take units from one counter, the longest first, since their lengths
// differ widely.
#include "runtime/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "runtime/cpu/stored_rows.h"
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/attention_kernel-inl.h"

#ifndef FOLKMOOT_RUNTIME_CPU_ATTENTION_ONCE_
#define FOLKMOOT_RUNTIME_CPU_ATTENTION_ONCE_
namespace folkmoot::cpu {

struct AttentionJob {
  const AttentionParams* params;
  std::span<const AttentionSequence> sequences;
  ConstMatrix q;
  const KvCache* cache;
  Matrix out;
  int64_t score_floats;  // per query

  bool sparse() const { return params->chosen != nullptr; }
  const KvCache::Layer& Layer() const { return cache->layer(params->layer); }
  int64_t Group() const { return params->heads / Layer().heads.count; }
};

// Queries of one unit: `heads` query heads of one group times `rows` rows.
struct AttentionTile {
  int64_t heads;
  int64_t rows;
};

}  // namespace folkmoot::cpu
#endif  // FOLKMOOT_RUNTIME_CPU_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

// Floats of AttentionUnit::wide, a multiple of 16.
int64_t WideFloats(const AttentionJob& job) {
  if (job.cache->shape().dtype == DType::kF32 && !job.sparse()) return 0;
  return std::max(kGroup * job.Layer().heads.head_dim, kValueChunk * job.Layer().value_stride);
}

// Of one thread.
int64_t ScratchFloats(const AttentionJob& job) {
  return kMaxQueries * (job.score_floats + job.Layer().value_stride) + WideFloats(job);
}

// Rows that choose their keys share none.
AttentionTile TileOf(const AttentionJob& job) {
  const int64_t group = job.Group();
  const int64_t parts = (group + kMaxQueries - 1) / kMaxQueries;
  const int64_t heads = (group + parts - 1) / parts;
  return {heads, job.sparse() ? 1 : kMaxQueries / heads};
}

// The first position that a query at `self` sees.
int64_t FirstSeen(const AttentionParams& params, const AttentionSequence& sequence, int64_t self) {
  int64_t first = sequence.first_key;
  if (params.window > 0) first = std::max(first, self - params.window + 1);
  if (params.chunk > 0) first = std::max(first, self / params.chunk * params.chunk);
  return first;
}

float SinkOf(const AttentionParams& params, int64_t row, int64_t head) {
  if (params.row_sinks.data != nullptr) return params.row_sinks.Row(row)[head];
  return params.sinks.empty() ? kNoSink : params.sinks[static_cast<size_t>(head)];
}

// Unit `index` of a sequence: tile of rows, kv head, part of the group, in that order.
void RunAttentionUnit(const AttentionJob& job, const AttentionSequence& sequence, int64_t index,
                      float* scratch) {
  const KvCache::Layer& layer = job.Layer();
  const int64_t group = job.Group();
  const AttentionTile tile = TileOf(job);
  const int64_t parts = (group + tile.heads - 1) / tile.heads;
  const int64_t part = index % parts;
  const int64_t kv_heads = layer.heads.count;
  const int64_t kv_head = index / parts % kv_heads;
  const int64_t first_row = index / parts / kv_heads * tile.rows;
  const int64_t rows = std::min(tile.rows, sequence.rows - first_row);
  const int64_t heads = std::min(tile.heads, group - part * tile.heads);

  AttentionUnit unit = {};
  unit.wide = scratch;
  scratch += WideFloats(job);
  unit.cache = job.cache;
  unit.shape = &layer;
  unit.layer = job.params->layer;
  unit.head = kv_head;
  unit.blocks = sequence.blocks;
  unit.scale = job.params->scale;
  unit.softcap = job.params->softcap;
  unit.reach = job.params->reach;
  unit.profiles = job.params->profiles;
  if (job.sparse()) {
    const ChosenKeys& chosen = *job.params->chosen;
    const int64_t set = kv_head * chosen.sets / kv_heads;
    unit.chosen = chosen.Of(sequence.first_row + first_row, set);
  }
  for (int64_t r = first_row; r < first_row + rows; ++r) {
    const int64_t self = sequence.start + r;
    const int64_t first = FirstSeen(*job.params, sequence, self);
    if (r == first_row) unit.base = first / kGroup * kGroup;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t head = kv_head * group + part * tile.heads + h;
      Query& query = unit.queries[unit.count++];
      query.q = job.q.Row(sequence.first_row + r) + head * layer.heads.head_dim;
      query.out = job.out.Row(sequence.first_row + r) + head * layer.heads.value_dim;
      query.sink = SinkOf(*job.params, sequence.first_row + r, head);
      query.first = first;
      query.last = sequence.keys_end > 0 ? sequence.keys_end - 1 : self;
      if (!unit.chosen.empty()) query.last = std::ssize(unit.chosen) - 1;
      query.self = self;
      query.bias = job.params->position_bias.empty()
                       ? nullptr
                       : job.params->position_bias.data() + head * (2 * job.params->reach + 1);
      if (unit.profiles != nullptr) {
        query.mixes = job.params->mixes.Row(sequence.first_row + r) + head * unit.profiles->count();
      }
      query.sums = scratch;
      query.scores = scratch + layer.value_stride + kGroup;
      scratch += layer.value_stride + job.score_floats;
    }
  }
  Attend(unit);
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(RunAttentionUnit);
HWY_EXPORT(ScratchFloats);
HWY_EXPORT(TileOf);

// One head of one position: its key, whose elements stand 16 apart, and its value.
void StorePosition(const float* key, const float* value, int64_t offset, std::byte* keys,
                   std::byte* values, const KvCache::Layer& layer, DType dtype) {
  constexpr int64_t kGroup = KvCache::kGroup;
  const int64_t head_dim = layer.heads.head_dim;
  const int64_t value_dim = layer.heads.value_dim;
  const int64_t key_at = offset / kGroup * kGroup * head_dim + offset % kGroup;
  const int64_t value_at = offset * layer.value_stride;
  if (dtype == DType::kI8) {
    auto* key_scales = reinterpret_cast<float*>(keys + layer.key_elements);
    key_scales[offset] = StoreInt8(key, head_dim, reinterpret_cast<int8_t*>(keys) + key_at, kGroup);
    if (value_dim == 0) return;
    auto* value_scales = reinterpret_cast<float*>(values + layer.value_elements);
    value_scales[offset] =
        StoreInt8(value, value_dim, reinterpret_cast<int8_t*>(values) + value_at, 1);
    return;
  }
  for (int64_t i = 0; i < head_dim; ++i) StoreElement(key[i], keys, dtype, key_at + i * kGroup);
  for (int64_t i = 0; i < value_dim; ++i) StoreElement(value[i], values, dtype, value_at + i);
}

// Keys and values of positions start .. start + rows of one head.
void StoreHead(int64_t index, const AttentionSequence& sequence, int64_t head, const ConstMatrix& k,
               const ConstMatrix& v, KvCache& cache) {
  const KvCache::Shape& shape = cache.shape();
  const KvCache::Layer& layer = cache.layer(index);
  for (int64_t r = 0; r < sequence.rows; ++r) {
    const int64_t position = sequence.start + r;
    const int64_t block = sequence.blocks[static_cast<size_t>(position / shape.block_size)];
    StorePosition(k.Row(sequence.first_row + r) + head * layer.heads.head_dim,
                  v.Row(sequence.first_row + r) + head * layer.heads.value_dim,
                  position % shape.block_size, cache.Keys(index, block, head),
                  cache.Values(index, block, head), layer, shape.dtype);
  }
}

int64_t UnitsOf(const AttentionJob& job, const AttentionSequence& sequence) {
  const AttentionTile tile = HWY_DYNAMIC_DISPATCH(TileOf)(job);
  const int64_t parts = (job.Group() + tile.heads - 1) / tile.heads;
  const int64_t kv_heads = job.Layer().heads.count;
  return (sequence.rows + tile.rows - 1) / tile.rows * kv_heads * parts;
}

// Unit `index` of the whole batch, counted from the last row of the last sequence, since later rows
// see more positions.
void RunUnit(const AttentionJob& job, int64_t index, float* scratch) {
  for (size_t s = job.sequences.size(); s-- > 0;) {
    const int64_t units = UnitsOf(job, job.sequences[s]);
    if (index < units) {
      return HWY_DYNAMIC_DISPATCH(RunAttentionUnit)(job, job.sequences[s], units - 1 - index,
                                                    scratch);
    }
    index -= units;
  }
}

}  // namespace

void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache) {
  constexpr int64_t kMinFloats = 32768;
  const int64_t heads = cache.heads(layer);
  const auto units = static_cast<int64_t>(sequences.size()) * heads;
  const int64_t unit_floats = k.rows * k.cols / std::max<int64_t>(units, 1) + 1;
  pool.ParallelFor(units, kMinFloats / unit_floats + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t u = begin; u < end; ++u) {
      StoreHead(layer, sequences[static_cast<size_t>(u / heads)], u % heads, k, v, cache);
    }
  });
}

void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out) {
  constexpr int64_t kMinPositions = 64;  // scores of one unit that are worth waking a thread for
  int64_t longest = 0;
  for (const AttentionSequence& s : sequences) longest = std::max(longest, s.start + s.rows);
  if (params.chosen != nullptr) longest = std::min(longest, params.chosen->most);
  AttentionJob job{&params, sequences, q, &cache, out, 0};
  // Groups of a block size that 16 does not divide may begin before the first multiple of 16 and
  // write behind the last position; behind chosen keys there is room for one group (ChosenScores).
  job.score_floats = (longest + 4 * KvCache::kGroup) / KvCache::kGroup * KvCache::kGroup;
  int64_t units = 0;
  for (const AttentionSequence& s : sequences) units += UnitsOf(job, s);
  if (units == 0) return;

  const Workspace::Position mark = workspace.Mark();
  const int64_t per_thread = HWY_DYNAMIC_DISPATCH(ScratchFloats)(job);
  float* scratch = workspace.Get<float>(per_thread * pool.threads()).data();
  std::atomic<int64_t> next{0};
  const bool alone = units * longest < 2 * kMinPositions;
  pool.ParallelFor(alone ? 1 : std::min<int64_t>(units, pool.threads()), 1,
                   [&](int64_t, int64_t, int thread) {
                     while (true) {
                       const int64_t unit = next.fetch_add(1, std::memory_order_relaxed);
                       if (unit >= units) return;
                       RunUnit(job, unit, scratch + thread * per_thread);
                     }
                   });
  workspace.Release(mark);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
