// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/attention.h"

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

}  // namespace

void KvCache::SetBytes() {
  FM_CHECK(shape_.layers >= 0 && shape_.blocks >= 0 && shape_.block_size > 0 &&
           shape_.kv_heads >= 0 && shape_.head_dim > 0 && shape_.value_dim >= 0);
  FM_CHECK(shape_.dtype == DType::kF32 || shape_.dtype == DType::kBF16 ||
           shape_.dtype == DType::kI8);
  const int64_t groups = (shape_.block_size + kGroup - 1) / kGroup;
  const auto scales = static_cast<int64_t>(shape_.dtype == DType::kI8 ? sizeof(float) : 0);
  key_bytes_ = key_elements() * DTypeBytes(shape_.dtype) + groups * kGroup * scales;
  value_bytes_ = value_elements() * DTypeBytes(shape_.dtype) + groups * kGroup * scales;
}

KvCache::KvCache(const Shape& shape) : shape_(shape) {
  SetBytes();
  const int64_t heads = shape.layers * shape.blocks * shape.kv_heads;
  keys_ = LazyMemory(heads * key_bytes_);
  values_ = LazyMemory(heads * value_bytes_);
}

int64_t KvCache::BytesPerBlock(const Shape& shape) {
  KvCache sizes;
  sizes.shape_ = shape;
  sizes.SetBytes();
  return shape.layers * shape.kv_heads * (sizes.key_bytes_ + sizes.value_bytes_);
}

void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache) {
  FM_CHECK(k.rows == v.rows);
  FM_CHECK(k.cols == cache.shape().kv_heads * cache.shape().head_dim);
  FM_CHECK(v.cols == cache.shape().kv_heads * cache.value_dim());
  CheckSequences(sequences, cache, layer, k.rows);
  cpu::StoreKv(pool, layer, sequences, k, v, cache);
}

void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out) {
  FM_CHECK(params.heads > 0 && params.heads % cache.shape().kv_heads == 0);
  FM_CHECK(params.window >= 0 && params.chunk >= 0 && params.softcap >= 0);
  FM_CHECK(params.sinks.empty() || std::ssize(params.sinks) == params.heads);
  FM_CHECK(std::ssize(params.position_bias) ==
           (params.position_bias.empty() ? 0 : params.heads * (2 * params.reach + 1)));
  FM_CHECK(q.cols == params.heads * cache.shape().head_dim);
  FM_CHECK(out.rows == q.rows && out.cols == params.heads * cache.value_dim());
  CheckSequences(sequences, cache, params.layer, q.rows);
  cpu::PagedAttention(pool, params, sequences, q, cache, workspace, out);
}

}  // namespace folkmoot
