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

void CheckChosen(const AttentionParams& params, std::span<const AttentionSequence> sequences,
                 int64_t rows, int64_t kv_heads) {
  const ChosenKeys& chosen = *params.chosen;
  FM_CHECK(params.window == 0 && params.chunk == 0 && params.position_bias.empty());
  FM_CHECK(params.profiles == nullptr);
  FM_CHECK(chosen.most > 0 && chosen.sets > 0 && kv_heads % chosen.sets == 0);
  FM_CHECK(std::ssize(chosen.counts) == rows * chosen.sets);
  FM_CHECK(std::ssize(chosen.positions) == rows * chosen.sets * chosen.most);
  for (const AttentionSequence& sequence : sequences) {
    FM_CHECK(sequence.first_key == 0 && sequence.keys_end == 0);
    for (int64_t i = 0; i < sequence.rows * chosen.sets; ++i) {
      const int64_t r = i / chosen.sets;
      const int64_t self = sequence.start + r;
      const std::span<const int32_t> keys = chosen.Of(sequence.first_row + r, i % chosen.sets);
      FM_CHECK(std::ssize(keys) <= chosen.most);
      FM_CHECK(keys.empty() ? self < chosen.most : keys.front() >= 0 && keys.back() <= self);
    }
  }
}

void CheckProfiles(const AttentionParams& params, std::span<const AttentionSequence> sequences,
                   int64_t rows) {
  FM_CHECK(params.mixes.rows == rows);
  FM_CHECK(params.mixes.cols == params.heads * params.profiles->count());
  for (const AttentionSequence& sequence : sequences) FM_CHECK(sequence.keys_end == 0);
}

KvCache::Layer LayerOf(const KvCache::Shape& shape, const KvCache::Heads& heads) {
  constexpr int64_t kGroup = KvCache::kGroup;
  FM_CHECK(heads.count >= 0 && heads.head_dim > 0 && heads.value_dim >= 0);
  const int64_t positions = (shape.block_size + kGroup - 1) / kGroup * kGroup;
  const auto scales =
      shape.dtype == DType::kI8 ? positions * static_cast<int64_t>(sizeof(float)) : 0;
  KvCache::Layer layer = {.heads = heads};
  if (heads.value_dim == 0 && !shape.keys_only) layer.heads.value_dim = heads.head_dim;
  layer.value_stride = (layer.heads.value_dim + kGroup - 1) / kGroup * kGroup;
  layer.key_elements = positions * heads.head_dim;
  layer.value_elements = shape.block_size * layer.value_stride;
  layer.key_bytes = layer.key_elements * DTypeBytes(shape.dtype) + scales;
  if (!shape.keys_only) {
    layer.value_bytes = layer.value_elements * DTypeBytes(shape.dtype) + scales;
  }
  return layer;
}

std::vector<KvCache::Layer> LayersOf(const KvCache::Shape& shape) {
  FM_CHECK(shape.layers >= 0 && shape.blocks >= 0 && shape.block_size > 0);
  FM_CHECK(shape.layer_heads.empty() || std::ssize(shape.layer_heads) == shape.layers);
  FM_CHECK(shape.dtype == DType::kF32 || shape.dtype == DType::kBF16 || shape.dtype == DType::kI8);
  std::vector<KvCache::Layer> layers;
  for (const KvCache::Heads& heads : shape.layer_heads) layers.push_back(LayerOf(shape, heads));
  if (!layers.empty() || shape.layers == 0) return layers;
  const KvCache::Heads all = {shape.kv_heads, shape.head_dim, shape.value_dim};
  layers.assign(static_cast<size_t>(shape.layers), LayerOf(shape, all));
  return layers;
}

}  // namespace

KvCache::KvCache(const Shape& shape) : shape_(shape), layers_(LayersOf(shape)) {
  int64_t key_bytes = 0;
  int64_t value_bytes = 0;
  for (Layer& layer : layers_) {
    layer.first_key = key_bytes;
    layer.first_value = value_bytes;
    key_bytes += shape.blocks * layer.heads.count * layer.key_bytes;
    value_bytes += shape.blocks * layer.heads.count * layer.value_bytes;
  }
  keys_ = LazyMemory(key_bytes);
  values_ = LazyMemory(value_bytes);
}

int64_t KvCache::BytesPerBlock(const Shape& shape) {
  int64_t bytes = 0;
  for (const Layer& layer : LayersOf(shape)) {
    bytes += layer.heads.count * (layer.key_bytes + layer.value_bytes);
  }
  return bytes;
}

void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache) {
  FM_CHECK(k.rows == v.rows);
  CheckSequences(sequences, cache, layer, k.rows);
  const KvCache::Heads& heads = cache.layer(layer).heads;
  FM_CHECK(k.cols == heads.count * heads.head_dim && v.cols == heads.count * heads.value_dim);
  cpu::StoreKv(pool, layer, sequences, k, v, cache);
}

void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out) {
  CheckSequences(sequences, cache, params.layer, q.rows);
  const KvCache::Heads& heads = cache.layer(params.layer).heads;
  FM_CHECK(params.heads > 0 && params.heads % heads.count == 0);
  FM_CHECK(params.window >= 0 && params.chunk >= 0 && params.softcap >= 0);
  FM_CHECK(params.sinks.empty() || std::ssize(params.sinks) == params.heads);
  if (params.row_sinks.data != nullptr) {
    FM_CHECK(params.row_sinks.rows == q.rows && params.row_sinks.cols == params.heads);
  }
  FM_CHECK(std::ssize(params.position_bias) ==
           (params.position_bias.empty() ? 0 : params.heads * (2 * params.reach + 1)));
  if (params.profiles != nullptr) CheckProfiles(params, sequences, q.rows);
  if (params.chosen != nullptr) CheckChosen(params, sequences, q.rows, heads.count);
  FM_CHECK(q.cols == params.heads * heads.head_dim);
  FM_CHECK(out.rows == q.rows && out.cols == params.heads * heads.value_dim);
  cpu::PagedAttention(pool, params, sequences, q, cache, workspace, out);
}

}  // namespace folkmoot
