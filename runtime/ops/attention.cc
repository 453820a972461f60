// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/attention.h"

#include <numeric>

#include "runtime/check.h"
#include "runtime/cpu/attention.h"

namespace folkmoot {
namespace {

void CheckSequences(std::span<const AttentionSequence> sequences, const KvCache& cache,
                    int64_t layer, int64_t batch_rows) {
  const KvCache::Shape& shape = cache.shape();
  FM_CHECK(layer >= 0 && layer < shape.layers);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_row >= 0 && sequence.rows >= 0 && sequence.start >= 0);
    FM_CHECK(sequence.first_row + sequence.rows <= batch_rows);
    FM_CHECK(sequence.first_key >= 0 && sequence.first_key <= sequence.start);
    FM_CHECK(sequence.keys_end >= 0 && sequence.keys_end <= sequence.start + sequence.rows);
    const auto pages = static_cast<int64_t>(sequence.blocks.size());
    FM_CHECK(sequence.start + sequence.rows <= pages * shape.block_size);
    for (const int32_t block : sequence.blocks) FM_CHECK(block >= 0 && block < shape.blocks);
  }
}

void CheckChosen(const AttentionParams& params, std::span<const AttentionSequence> sequences,
                 int64_t rows) {
  const ChosenKeys& chosen = *params.chosen;
  FM_CHECK(params.window == 0 && params.chunk == 0 && params.position_bias.empty());
  FM_CHECK(chosen.most > 0 && std::ssize(chosen.counts) == rows);
  FM_CHECK(std::ssize(chosen.positions) == rows * chosen.most);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_key == 0 && sequence.keys_end == 0);
    for (int64_t r = 0; r < sequence.rows; ++r) {
      const int64_t self = sequence.start + r;
      const std::span<const int32_t> keys = chosen.Of(sequence.first_row + r);
      FM_CHECK(std::ssize(keys) <= chosen.most);
      FM_CHECK(keys.empty() ? self < chosen.most : keys.front() >= 0 && keys.back() <= self);
    }
  }
}

}  // namespace

void KvCache::SetBytes() {
  FM_CHECK(shape_.layers >= 0 && shape_.blocks >= 0 && shape_.block_size > 0 &&
           shape_.kv_heads >= 0 && shape_.head_dim > 0 && shape_.value_dim >= 0);
  FM_CHECK(shape_.layer_heads.empty() || std::ssize(shape_.layer_heads) == shape_.layers);
  FM_CHECK(shape_.dtype == DType::kF32 || shape_.dtype == DType::kBF16 ||
           shape_.dtype == DType::kI8);
  const int64_t groups = (shape_.block_size + kGroup - 1) / kGroup;
  const auto scales = static_cast<int64_t>(shape_.dtype == DType::kI8 ? sizeof(float) : 0);
  key_bytes_ = key_elements() * DTypeBytes(shape_.dtype) + groups * kGroup * scales;
  value_bytes_ = value_elements() * DTypeBytes(shape_.dtype);
  if (!shape_.keys_only) value_bytes_ += groups * kGroup * scales;
}

KvCache::KvCache(const Shape& shape) : shape_(shape) {
  SetBytes();
  first_heads_.push_back(0);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const int64_t own =
        shape.layer_heads.empty() ? shape.kv_heads : shape.layer_heads[static_cast<size_t>(layer)];
    first_heads_.push_back(first_heads_.back() + own);
  }
  const int64_t heads = shape.blocks * first_heads_.back();
  keys_ = LazyMemory(heads * key_bytes_);
  values_ = LazyMemory(heads * value_bytes_);
}

int64_t KvCache::Shape::all_heads() const {
  if (layer_heads.empty()) return layers * kv_heads;
  return std::accumulate(layer_heads.begin(), layer_heads.end(), int64_t{0});
}

int64_t KvCache::BytesPerBlock(const Shape& shape) {
  KvCache sizes;
  sizes.shape_ = shape;
  sizes.SetBytes();
  return shape.all_heads() * (sizes.key_bytes_ + sizes.value_bytes_);
}

void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache) {
  FM_CHECK(k.rows == v.rows);
  CheckSequences(sequences, cache, layer, k.rows);
  FM_CHECK(k.cols == cache.heads(layer) * cache.shape().head_dim);
  FM_CHECK(v.cols == cache.heads(layer) * cache.value_dim());
  cpu::StoreKv(pool, layer, sequences, k, v, cache);
}

void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out) {
  CheckSequences(sequences, cache, params.layer, q.rows);
  FM_CHECK(params.heads > 0 && params.heads % cache.heads(params.layer) == 0);
  FM_CHECK(params.window >= 0 && params.chunk >= 0 && params.softcap >= 0);
  FM_CHECK(params.sinks.empty() || std::ssize(params.sinks) == params.heads);
  FM_CHECK(std::ssize(params.position_bias) ==
           (params.position_bias.empty() ? 0 : params.heads * (2 * params.reach + 1)));
  if (params.chosen != nullptr) CheckChosen(params, sequences, q.rows);
  FM_CHECK(q.cols == params.heads * cache.shape().head_dim);
  FM_CHECK(out.rows == q.rows && out.cols == params.heads * cache.value_dim());
  cpu::PagedAttention(pool, params, sequences, q, cache, workspace, out);
}

}  // namespace folkmoot
