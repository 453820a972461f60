// SPDX-License-Identifier: Apache-2.0
// Attention over a paged KV cache (blocks as in vLLM's PagedAttention, SOSP 2023).
//
// Same bits: a query's result is a function of its own q and of the keys and values at positions
// that it sees, visited in position order. Neither chunking nor batch mates nor block ids matter.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/lazy_memory.h"
#include "runtime/ops/distance_profiles.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Keys and values of one model on one rank in blocks of block_size positions: float32, bfloat16
// (rounded to nearest), or int8 with a scale per head and position (max|x| / 127). Kernels compute
// with what is stored, also in the step that stores it. Owns its memory.
class KvCache {
 public:
  // Positions that share a group of keys, and the unit to which rows of values are padded.
  static constexpr int64_t kGroup = 16;

  // Those of keys and values of one layer.
  struct Heads {
    int64_t count = 0;
    int64_t head_dim = 0;
    int64_t value_dim = 0;  // 0: head_dim
  };
  struct Shape {
    int64_t layers = 0;
    int64_t blocks = 0;
    int64_t block_size = 16;
    int64_t kv_heads = 0;
    int64_t head_dim = 0;
    int64_t value_dim = 0;      // of values; 0: head_dim
    DType dtype = DType::kF32;  // or kBF16, kI8
    // Of each layer, where they differ; empty: all layers have the heads above.
    std::vector<Heads> layer_heads = {};
    bool keys_only = false;  // there are no values (keys of a lightning indexer)
  };
  // What one layer has, and the sizes that follow from it.
  struct Layer {
    Heads heads;
    int64_t value_stride = 0;  // floats from one value to the next
    // Of the keys, and of the values, of one head of one block.
    int64_t key_elements = 0;
    int64_t value_elements = 0;
    int64_t key_bytes = 0;
    int64_t value_bytes = 0;
    int64_t first_key = 0;  // bytes before the first block's, in keys_ and values_
    int64_t first_value = 0;
  };
  explicit KvCache(const Shape& shape);
  static int64_t BytesPerBlock(const Shape& shape);

  const Shape& shape() const { return shape_; }
  const Layer& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }
  int64_t heads(int64_t index) const { return layer(index).heads.count; }
  int64_t bytes() const { return keys_.bytes() + values_.bytes(); }

  // One head of one block: keys as [ceil(block_size / 16), head_dim, 16], sixteen positions side by
  // side, so that their scores are computed in lanes; values as [block_size, value_stride]. With
  // int8, float scales follow, one per position.
  std::byte* Keys(int64_t index, int64_t block, int64_t head) {
    return keys_.data() + KeyAt(layer(index), block, head);
  }
  std::byte* Values(int64_t index, int64_t block, int64_t head) {
    return values_.data() + ValueAt(layer(index), block, head);
  }
  const std::byte* Keys(int64_t index, int64_t block, int64_t head) const {
    return keys_.data() + KeyAt(layer(index), block, head);
  }
  const std::byte* Values(int64_t index, int64_t block, int64_t head) const {
    return values_.data() + ValueAt(layer(index), block, head);
  }

 private:
  static int64_t KeyAt(const Layer& layer, int64_t block, int64_t head) {
    return layer.first_key + (block * layer.heads.count + head) * layer.key_bytes;
  }
  static int64_t ValueAt(const Layer& layer, int64_t block, int64_t head) {
    return layer.first_value + (block * layer.heads.count + head) * layer.value_bytes;
  }

  Shape shape_;
  std::vector<Layer> layers_;
  LazyMemory keys_;
  LazyMemory values_;
};

// The part of one sequence that this step computes: rows first_row .. first_row + rows of the batch
// are positions start .. start + rows of the sequence, whose cache pages are `blocks`. A query sees
// the keys from `first_key` to its own, or, where `keys_end` is not 0, all before `keys_end`.
struct AttentionSequence {
  int64_t first_row = 0;
  int64_t rows = 0;
  int64_t start = 0;
  std::span<const int32_t> blocks;
  int64_t first_key = 0;
  int64_t keys_end = 0;  // at most start + rows
  int64_t slot = -1;     // of a RecurrentState; -1: it has none
  int64_t prompt = 0;    // the first so many positions, see ChooseBesidePrompt; 0: there is none
};

// The keys that each query of a step sees, where it does not see all before it: sparse attention,
// see key_selection.h. Heads of keys in `sets` equal parts see the keys of one set each. Spans are
// the caller's.
struct ChosenKeys {
  int64_t most = 0;  // of a query and set
  int64_t sets = 1;
  std::span<int32_t> counts;     // [T, sets]; 0: the query sees all
  std::span<int32_t> positions;  // [T, sets, most], of which so many count, ascending

  std::span<const int32_t> Of(int64_t row, int64_t set) const {
    const int64_t place = row * sets + set;
    return positions.subspan(static_cast<size_t>(place * most),
                             static_cast<size_t>(counts[static_cast<size_t>(place)]));
  }
};

struct AttentionParams {
  int64_t layer = 0;
  int64_t heads = 0;  // query heads; a multiple of the layer's in the cache
  float scale = 1.0f;
  int64_t window = 0;  // a query at p sees keys max(0, p - window + 1) .. p; 0 = all
  int64_t chunk = 0;   // and those of its own chunk of so many positions (Llama 4); 0 = all
  float softcap = 0;   // scores become softcap * tanh(score / softcap) (Gemma 2); 0: they stay
  // [heads] or empty: a logit per head that takes part in the softmax and has no value (gpt-oss).
  std::span<const float> sinks = {};
  ConstMatrix row_sinks = {};  // [T, heads] in their place: each query has its own (Inkling 2)
  // [heads, 2 * reach + 1] or empty: added to the score of a key that stands d positions behind its
  // query, -reach <= d <= reach, at d + reach; keys further away count as at the end (T5).
  std::span<const float> position_bias = {};
  int64_t reach = 0;
  // Of queries that see no keys of later rows: the score of a key d positions before its query
  // gets the sum over i of mixes[t, head, i] * profile i at d, and nothing beyond their extent, in
  // order of i (Inkling). Null: none.
  const DistanceProfiles* profiles = nullptr;
  ConstMatrix mixes = {};  // [T, heads * profiles->count()]
  // Without window, chunk, biases, profiles and borders of the keys. Null: every query sees all. A
  // query that chose all before it has the bits of one that sees all. At most `most` keys may be
  // seen.
  const ChosenKeys* chosen = nullptr;
};

// Writes k [T, heads of the layer * head_dim] and v [T, those * value_dim] to the pages of their
// positions. Of a cache of keys alone v has no columns.
void StoreKv(ThreadPool& pool, int64_t layer, std::span<const AttentionSequence> sequences,
             ConstMatrix k, ConstMatrix v, KvCache& cache);

// q [T, heads * head_dim], out [T, heads * value_dim]. Call after StoreKv of the same step. Scratch
// from `workspace`.
void PagedAttention(ThreadPool& pool, const AttentionParams& params,
                    std::span<const AttentionSequence> sequences, ConstMatrix q,
                    const KvCache& cache, Workspace& workspace, Matrix out);

}  // namespace folkmoot
