// SPDX-License-Identifier: Apache-2.0
// Attention of up to kMaxQueries queries that share one head of keys and values: several query
// heads of a group, several rows of a prefill, or both. Three passes: scores of all keys, softmax,
// weighted sum of values. Sharing only saves loads: each query's sums run over its own positions
// first..last in ascending order, in lanes that its positions alone determine.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/cpu/simd-inl.h"
#include "runtime/ops/attention.h"

#if defined(FOLKMOOT_RUNTIME_CPU_ATTENTION_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_ATTENTION_KERNEL_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_ATTENTION_KERNEL_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_ATTENTION_KERNEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kGroup = KvCache::kGroup;
constexpr int64_t kMaxQueries = 12;
constexpr int64_t kScoreTile = 6;     // queries whose scores share the loads of a key
constexpr int64_t kValueTile = 3;     // queries that share the loads of a value
constexpr int64_t kValueChunk = 128;  // positions whose values stay in cache for all queries

constexpr float kNoSink = -std::numeric_limits<float>::infinity();

struct Query {
  const float* q;  // [head_dim]
  float* out;      // [value_dim]
  float* scores;   // of positions base.., see AttentionUnit; of chosen keys, in their order
  float* sums;     // [value_stride]
  int64_t first;   // the positions that it sees, or the places of chosen keys
  int64_t last;
  float sink;         // a logit without a value; kNoSink: none
  const float* bias;  // [2 * reach + 1], see AttentionParams; null: none
  int64_t self;       // its own position
};

// One head of the cache as one sequence sees it.
struct AttentionUnit {
  const KvCache* cache;
  const KvCache::Layer* shape;  // of `layer`
  int64_t layer;
  int64_t head;
  std::span<const int32_t> blocks;
  float scale;
  float softcap;  // 0: none
  int64_t reach;  // of position biases
  int64_t base;   // first position in the score rows: a multiple of 16
  // The positions that all queries of the unit see, ascending; empty: those that each says. Scores
  // and values of chosen keys stand side by side, so that the rest need not know.
  std::span<const int32_t> chosen;
  Query queries[kMaxQueries];
  int64_t count;

  float* wide;         // where keys [head_dim, 16] or values [kValueChunk, stride] are widened
  int64_t wide_first;  // the position of the first widened value

  const std::byte* Keys(int64_t block) const {
    return cache->Keys(layer, blocks[static_cast<size_t>(block)], head);
  }
  const std::byte* Values(int64_t block) const {
    return cache->Values(layer, blocks[static_cast<size_t>(block)], head);
  }
  bool wide_values() const { return cache->shape().dtype != DType::kF32 || !chosen.empty(); }
  // The values at `position`, and of those behind it in the block.
  const float* ValueAt(int64_t position) const {
    const int64_t stride = shape->value_stride;
    if (wide_values()) return wide + (position - wide_first) * stride;
    const int64_t size = cache->shape().block_size;
    return reinterpret_cast<const float*>(Values(position / size)) + position % size * stride;
  }
};

// `count` numbers of bfloat16; a multiple of 16.
HWY_INLINE void WidenBF16(const std::byte* from, int64_t count, float* to) {
  const DF d;
  const hn::Rebind<uint16_t, DF> d16;
  const auto* bits = reinterpret_cast<const uint16_t*>(from);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(kVector)) {
    const auto wide = hn::PromoteTo(DU(), hn::LoadU(d16, bits + i));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(wide)), d, to + i);
  }
}

HWY_INLINE VF LoadInt8(const std::byte* from) {
  const hn::Rebind<int8_t, DF> d8;
  const auto bytes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(from));
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), bytes));
}

// The keys of the group of sixteen positions at `offset` of a block.
HWY_INLINE const float* WideKeys(const AttentionUnit& unit, const std::byte* block,
                                 int64_t offset) {
  const DF d;
  const DType dtype = unit.cache->shape().dtype;
  const int64_t head_dim = unit.shape->heads.head_dim;
  const std::byte* keys = block + offset * head_dim * DTypeBytes(dtype);
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(keys);
  if (dtype == DType::kBF16) {
    WidenBF16(keys, head_dim * kGroup, unit.wide);
    return unit.wide;
  }
  const auto* scales = reinterpret_cast<const float*>(block + unit.shape->key_elements) + offset;
  for (int64_t i = 0; i < head_dim * kGroup; i += kGroup) {
    for (size_t v = 0; v < kLanes; v += kVector) {
      const int64_t at = i + static_cast<int64_t>(v);
      hn::Store(hn::Mul(LoadInt8(keys + at), hn::LoadU(d, scales + v)), d, unit.wide + at);
    }
  }
  return unit.wide;
}

// Widens the values of positions begin .. end, or those of chosen keys, which are gathered.
HWY_INLINE void WidenValues(AttentionUnit& unit, int64_t begin, int64_t end) {
  const DF d;
  const KvCache::Shape& shape = unit.cache->shape();
  if (!unit.wide_values()) return;
  unit.wide_first = begin;
  const int64_t stride = unit.shape->value_stride;
  float* to = unit.wide;
  for (int64_t place = begin; place < end; ++place, to += stride) {
    const int64_t position = unit.chosen.empty() ? place : unit.chosen[static_cast<size_t>(place)];
    const std::byte* block = unit.Values(position / shape.block_size);
    const int64_t offset = position % shape.block_size;
    const std::byte* from = block + offset * stride * DTypeBytes(shape.dtype);
    if (shape.dtype == DType::kF32) {
      std::copy_n(reinterpret_cast<const float*>(from), stride, to);
      continue;
    }
    if (shape.dtype == DType::kBF16) {
      WidenBF16(from, stride, to);
      continue;
    }
    const std::byte* scales = block + unit.shape->value_elements;
    const VF scale = hn::Set(d, reinterpret_cast<const float*>(scales)[offset]);
    for (int64_t c = 0; c < stride; c += static_cast<int64_t>(kVector)) {
      hn::StoreU(hn::Mul(LoadInt8(from + c), scale), d, to + c);
    }
  }
}

// Scores of sixteen positions for kQueries queries: one chain over head_dim per lane.
template <int kQueries>
HWY_INLINE void ScoreGroup(const float* keys, const Query* queries, int64_t head_dim, float scale,
                           int64_t index) {
  const DF d;
  VF sums[kQueries][kVectors];
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  const float* qs[kQueries];
  for (int r = 0; r < kQueries; ++r) qs[r] = queries[r].q;
  for (int64_t i = 0; i < head_dim; ++i) {
    VF key[kVectors];
    for (size_t v = 0; v < kVectors; ++v) key[v] = hn::Load(d, keys + i * kGroup + v * kVector);
    for (int r = 0; r < kQueries; ++r) {
      const VF x = hn::Set(d, qs[r][i]);
      for (size_t v = 0; v < kVectors; ++v) sums[r][v] = Fma(x, key[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(hn::Mul(sums[r][v], hn::Set(d, scale)), d,
                 queries[r].scores + index + v * kVector);
    }
  }
}

template <int kQueries = kScoreTile>
HWY_INLINE void ScoreGroupOf(int64_t count, const float* keys, const Query* queries,
                             int64_t head_dim, float scale, int64_t index) {
  if constexpr (kQueries == 1) {
    ScoreGroup<1>(keys, queries, head_dim, scale, index);
  } else {
    if (count == kQueries) return ScoreGroup<kQueries>(keys, queries, head_dim, scale, index);
    ScoreGroupOf<kQueries - 1>(count, keys, queries, head_dim, scale, index);
  }
}

// Scores of one stored group of keys for all queries of the unit, to scores[index ..].
HWY_INLINE void ScoreAll(const AttentionUnit& unit, const float* group, int64_t index) {
  const int64_t tiles = (unit.count + kScoreTile - 1) / kScoreTile;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = unit.count * tile / tiles;
    const int64_t count = unit.count * (tile + 1) / tiles - first;
    ScoreGroupOf(count, group, unit.queries + first, unit.shape->heads.head_dim, unit.scale, index);
  }
}

// Scores of the chosen keys. A stored group that has one is computed whole, behind the scores that
// count, from where those of its chosen keys go to their places.
HWY_INLINE void ChosenScores(const AttentionUnit& unit) {
  const int64_t block_size = unit.cache->shape().block_size;
  const auto count = std::ssize(unit.chosen);
  const int64_t spare = (count + kGroup - 1) / kGroup * kGroup;
  for (int64_t place = 0; place < count;) {
    const int64_t position = unit.chosen[static_cast<size_t>(place)];
    const int64_t block = position / block_size;
    const int64_t offset = position % block_size / kGroup * kGroup;
    const int64_t begin = block * block_size + offset;
    const int64_t end = begin + std::min(kGroup, block_size - offset);
    ScoreAll(unit, WideKeys(unit, unit.Keys(block), offset), spare);
    for (; place < count && unit.chosen[static_cast<size_t>(place)] < end; ++place) {
      const int64_t from = spare + unit.chosen[static_cast<size_t>(place)] - begin;
      for (int64_t i = 0; i < unit.count; ++i) {
        unit.queries[i].scores[place] = unit.queries[i].scores[from];
      }
    }
  }
}

// Scores of positions base .. end. A group that is not full (block sizes that 16 does not divide)
// writes rubbish behind its positions, which the next group replaces.
HWY_INLINE void Scores(const AttentionUnit& unit, int64_t end) {
  const int64_t block_size = unit.cache->shape().block_size;
  for (int64_t block = unit.base / block_size; block * block_size < end; ++block) {
    const std::byte* keys = unit.Keys(block);
    for (int64_t offset = 0; offset < block_size; offset += kGroup) {
      const int64_t position = block * block_size + offset;
      if (position >= end) break;
      if (position + std::min(kGroup, block_size - offset) <= unit.base) continue;
      ScoreAll(unit, WideKeys(unit, keys, offset), position - unit.base);
    }
  }
}

// scores = cap tanh(score / cap).
HWY_INLINE void CapScores(const Query& query, int64_t base, float cap) {
  const DF d;
  const VF inverse = hn::Set(d, 1.0f / cap);
  for (int64_t p = query.first / kGroup * kGroup; p <= query.last; p += kGroup) {
    Block block = LoadBlock(query.scores + (p - base));
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = hn::Mul(Tanh(hn::Mul(block.v[v], inverse)), hn::Set(d, cap));
    }
    StoreBlockN(block, query.scores + (p - base), kLanes);
  }
}

// scores += the bias of the key's distance.
HWY_INLINE void AddPositionBias(const Query& query, int64_t base, int64_t reach) {
  for (int64_t p = query.first; p <= query.last; ++p) {
    const int64_t distance = std::min(std::max(p - query.self, -reach), reach);
    query.scores[p - base] += query.bias[distance + reach];
  }
}

// scores = e^(score - max) over the query's positions, zero around them up to multiples of 16. The
// sink takes part in max and sum. Returns 1 / the sum, which goes by lane (position mod 16).
HWY_INLINE float Softmax(const Query& query, int64_t base) {
  const DF d;
  const int64_t begin = query.first / kGroup * kGroup;
  const int64_t end = (query.last + kGroup) / kGroup * kGroup;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::fill(query.scores + (begin - base), query.scores + (query.first - base), kNone);
  std::fill(query.scores + (query.last + 1 - base), query.scores + (end - base), kNone);
  Block top = LoadBlock(query.scores + (begin - base));
  for (int64_t p = begin + kGroup; p < end; p += kGroup) {
    const Block block = LoadBlock(query.scores + (p - base));
    for (size_t v = 0; v < kVectors; ++v) top.v[v] = hn::Max(top.v[v], block.v[v]);
  }
  HWY_ALIGN float lanes[kLanes];
  StoreBlockN(top, lanes, kLanes);
  const VF max = hn::Set(d, std::max(query.sink, *std::max_element(lanes, lanes + kLanes)));
  Block sum = ZeroBlock();
  for (int64_t p = begin; p < end; p += kGroup) {
    Block block = LoadBlock(query.scores + (p - base));
    for (size_t v = 0; v < kVectors; ++v) {
      block.v[v] = Exp(hn::Sub(block.v[v], max));
      sum.v[v] = hn::Add(sum.v[v], block.v[v]);
    }
    StoreBlockN(block, query.scores + (p - base), kLanes);
  }
  const float sum_of_sink = hn::GetLane(Exp(hn::Sub(hn::Set(d, query.sink), max)));
  return 1.0f / (SumLanes(sum) + sum_of_sink);
}

// sums[column ..] += weight * value over positions begin .. end, ascending, kCols columns.
template <int kQueries, int64_t kCols>
HWY_INLINE void AddColumns(const AttentionUnit& unit, const Query* queries, int64_t column,
                           int64_t begin, int64_t end) {
  constexpr size_t kCount = kCols / kVector;
  const DF d;
  const int64_t block_size = unit.cache->shape().block_size;
  const int64_t stride = unit.shape->value_stride;
  VF sums[kQueries][kCount];
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kCount; ++v) {
      sums[r][v] = hn::Load(d, queries[r].sums + column + v * kVector);
    }
  }
  for (int64_t position = begin; position < end;) {
    const int64_t block = position / block_size;
    const int64_t stop = std::min(end, (block + 1) * block_size);
    const float* value = unit.ValueAt(position) + column;
    for (; position < stop; ++position, value += stride) {
      VF weights[kQueries];
      for (int r = 0; r < kQueries; ++r) {
        weights[r] = hn::Set(d, queries[r].scores[position - unit.base]);
      }
      for (size_t v = 0; v < kCount; ++v) {
        const VF x = hn::Load(d, value + v * kVector);
        for (int r = 0; r < kQueries; ++r) sums[r][v] = Fma(weights[r], x, sums[r][v]);
      }
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    for (size_t v = 0; v < kCount; ++v) {
      hn::Store(sums[r][v], d, queries[r].sums + column + v * kVector);
    }
  }
}

template <int kQueries>
HWY_NOINLINE void AddValues(const AttentionUnit& unit, const Query* queries, int64_t begin,
                            int64_t end) {
  if (begin >= end) return;
  const int64_t stride = unit.shape->value_stride;
  int64_t column = 0;
  for (; column + 32 <= stride; column += 32) {
    AddColumns<kQueries, 32>(unit, queries, column, begin, end);
  }
  if (column < stride) AddColumns<kQueries, 16>(unit, queries, column, begin, end);
}

// The part of positions begin .. end that each of `count` queries sees: together where all of them
// see the position, one by one before and after.
template <int kQueries>
HWY_INLINE void AddValuesShared(const AttentionUnit& unit, const Query* queries, int64_t begin,
                                int64_t end) {
  int64_t from = queries[0].first;
  int64_t to = queries[0].last + 1;
  for (int r = 1; r < kQueries; ++r) {
    from = std::max(from, queries[r].first);
    to = std::min(to, queries[r].last + 1);
  }
  to = std::max(from, to);  // disjoint windows share nothing
  for (int r = 0; r < kQueries; ++r) {
    const int64_t last = std::min(queries[r].last + 1, end);
    AddValues<1>(unit, queries + r, std::max(queries[r].first, begin), std::min(from, last));
  }
  AddValues<kQueries>(unit, queries, std::max(from, begin), std::min(to, end));
  for (int r = 0; r < kQueries; ++r) {
    AddValues<1>(unit, queries + r, std::max(to, begin), std::min(queries[r].last + 1, end));
  }
}

HWY_INLINE void WeightedSums(AttentionUnit& unit, int64_t end) {
  const int64_t tiles = (unit.count + kValueTile - 1) / kValueTile;
  for (int64_t chunk = unit.base; chunk < end; chunk += kValueChunk) {
    const int64_t stop = std::min(end, chunk + kValueChunk);
    WidenValues(unit, chunk, stop);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = unit.count * tile / tiles;
      const int64_t count = unit.count * (tile + 1) / tiles - first;
      const Query* queries = unit.queries + first;
      if (count == 3) {
        AddValuesShared<3>(unit, queries, chunk, stop);
      } else if (count == 2) {
        AddValuesShared<2>(unit, queries, chunk, stop);
      } else {
        AddValuesShared<1>(unit, queries, chunk, stop);
      }
    }
  }
}

HWY_INLINE void Attend(AttentionUnit& unit) {
  const int64_t value_dim = unit.shape->heads.value_dim;
  const int64_t stride = unit.shape->value_stride;
  int64_t end = 0;
  for (int64_t i = 0; i < unit.count; ++i) {
    end = std::max(end, unit.queries[i].last + 1);
    std::fill_n(unit.queries[i].sums, stride, 0.0f);
  }
  if (unit.chosen.empty()) {
    Scores(unit, end);
  } else {
    ChosenScores(unit);
  }
  float inverse[kMaxQueries];
  for (int64_t i = 0; i < unit.count; ++i) {
    if (unit.softcap > 0) CapScores(unit.queries[i], unit.base, unit.softcap);
    if (unit.queries[i].bias != nullptr) {
      AddPositionBias(unit.queries[i], unit.base, unit.reach);
    }
    inverse[i] = Softmax(unit.queries[i], unit.base);
  }
  WeightedSums(unit, end);
  for (int64_t i = 0; i < unit.count; ++i) {
    const Query& query = unit.queries[i];
    for (int64_t c = 0; c < value_dim; ++c) query.out[c] = query.sums[c] * inverse[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_ATTENTION_KERNEL_INL_H_
