// SPDX-License-Identifier: Apache-2.0
// Attention of up to kMaxQueries queries that share one head of keys and values: several query
// heads of a group, several rows of a prefill, or both. Three passes: scores of all keys, softmax,
// weighted sum of values. Sharing only saves loads: each query's sums run over its own positions
// first..last in ascending order, in lanes that its positions alone determine.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/cpu/attention_unit-inl.h"
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

constexpr int64_t kScoreTile = 6;  // queries whose scores share the loads of a key
constexpr int64_t kValueTile = 3;  // queries that share the loads of a value

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

// scores += the query's mixture of profiles at the distance of the key. Lanes around its positions
// get rubbish, as they have.
HWY_INLINE void AddProfiles(const Query& query, int64_t base, const DistanceProfiles& profiles) {
  const DF d;
  const int64_t first = std::max(query.first, query.self - profiles.extent() + 1);
  for (int64_t p = first / kGroup * kGroup; p <= query.self; p += kGroup) {
    Block sum = ZeroBlock();
    for (int64_t i = 0; i < profiles.count(); ++i) {
      const VF mix = hn::Set(d, query.mixes[i]);
      const Block profile = LoadBlock(profiles.At(i, query.self - p));
      for (size_t v = 0; v < kVectors; ++v) sum.v[v] = Fma(mix, profile.v[v], sum.v[v]);
    }
    Block scores = LoadBlock(query.scores + (p - base));
    for (size_t v = 0; v < kVectors; ++v) scores.v[v] = hn::Add(scores.v[v], sum.v[v]);
    StoreBlockN(scores, query.scores + (p - base), kLanes);
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
    if (unit.profiles != nullptr) AddProfiles(unit.queries[i], unit.base, *unit.profiles);
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
