// SPDX-License-Identifier: Apache-2.0
// What attention works on at a time, see attention_kernel-inl.h: some queries, and the keys and
// values of one head as one sequence sees them, widened to float32.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/cpu/simd-inl.h"
#include "runtime/ops/attention.h"

#if defined(FOLKMOOT_RUNTIME_CPU_ATTENTION_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOLKMOOT_RUNTIME_CPU_ATTENTION_UNIT_INL_H_
#undef FOLKMOOT_RUNTIME_CPU_ATTENTION_UNIT_INL_H_
#else
#define FOLKMOOT_RUNTIME_CPU_ATTENTION_UNIT_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kGroup = KvCache::kGroup;
constexpr int64_t kMaxQueries = 12;
constexpr int64_t kValueChunk = 128;  // positions whose values stay in cache for all queries

constexpr float kNoSink = -std::numeric_limits<float>::infinity();

struct Query {
  const float* q;  // [head_dim]
  float* out;      // [value_dim]
  float* scores;   // of positions base.., see AttentionUnit; of chosen keys, in their order
  float* sums;     // [value_stride]
  int64_t first;   // the positions that it sees, or the places of chosen keys
  int64_t last;
  float sink;          // a logit without a value; kNoSink: none
  const float* bias;   // [2 * reach + 1], see AttentionParams; null: none
  const float* mixes;  // [count of profiles], where there are
  int64_t self;        // its own position
};

// One head of the cache as one sequence sees it.
struct AttentionUnit {
  const KvCache* cache;
  const KvCache::Layer* shape;  // of `layer`
  int64_t layer;
  int64_t head;
  std::span<const int32_t> blocks;
  float scale;
  float softcap;                     // 0: none
  int64_t reach;                     // of position biases
  const DistanceProfiles* profiles;  // null: none
  int64_t base;                      // first position in the score rows: a multiple of 16
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

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();
#endif  // FOLKMOOT_RUNTIME_CPU_ATTENTION_UNIT_INL_H_
