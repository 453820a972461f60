// SPDX-License-Identifier: Apache-2.0
// The sequence of kernels of one step of a Mixtral-shaped model on one rank, with random weights:
// 8 layers, hidden 1024, 16 heads over 4 key-value heads of 64, 8 experts of 1792, top-2, 32000
// words. No files, gates or ranks: what the kernels alone can reach.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/machine_probe.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/gemm.h"
#include "runtime/ops/norm.h"
#include "runtime/quant/round_to_nearest.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// "f32", "bf16", "f16", or a name of CodeSpecNamed.
struct WeightKind {
  DType dtype = DType::kBF16;
  std::optional<CodeSpec> codes;

  static WeightKind Named(const std::string& name) {
    const std::optional<CodeSpec> codes = CodeSpecNamed(name);
    if (codes || name == "f32") return {DType::kF32, codes};
    return {name == "f16" ? DType::kF16 : DType::kBF16, std::nullopt};
  }
  double bytes() const {
    return codes ? BytesPerWeight(*codes) : static_cast<double>(DTypeBytes(dtype));
  }
  ProductKind products(const ProductRules& rules = {}) const {
    const bool integers = codes && codes->type != CodeType::kFp8;
    return ProductsOf(integers, codes ? DType::kF32 : dtype, rules);
  }
};

// Weights in about (-scale, scale): one random run of values, repeated.
inline PackedMatrix RandomPacked(ThreadPool& pool, const WeightKind& kind, int64_t n, int64_t k,
                                 uint64_t seed) {
  const DType dtype = kind.dtype;
  constexpr int64_t kRun = 65521;  // a prime, so that rows differ
  const int64_t size = DTypeBytes(dtype);
  std::vector<std::byte> bytes(static_cast<size_t>((n * k + kRun) * size));
  const float scale = 1.7f / std::sqrt(static_cast<float>(k));
  uint64_t state = seed * 2 + 1;
  for (int64_t i = 0; i < kRun; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float value = (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f) * scale;
    if (dtype == DType::kF32) {
      reinterpret_cast<float*>(bytes.data())[i] = value;
    } else {
      reinterpret_cast<uint16_t*>(bytes.data())[i] =
          dtype == DType::kBF16 ? FloatToBF16(value) : FloatToF16(value);
    }
  }
  for (int64_t i = kRun; i < n * k; i += kRun) {
    std::copy_n(bytes.data(), kRun * size, bytes.data() + i * size);
  }
  const WeightView view = {bytes.data(), dtype, n, k};
  return kind.codes ? PackedMatrix::Pack(pool, RoundedMatrix(view, *kind.codes))
                    : PackedMatrix::Pack(pool, view);
}

class BenchModel {
 public:
  static constexpr int64_t kLayers = 8, kHidden = 1024, kHeads = 16, kKvHeads = 4, kHeadDim = 64;
  static constexpr int64_t kExperts = 8, kTopK = 2, kInner = 1792, kVocab = 32000;
  static constexpr int64_t kBlock = 16;

  BenchModel(ThreadPool& pool, const WeightKind& kind, int64_t sequences, int64_t context)
      : pool_(pool),
        context_(context),
        cache_({.layers = kLayers,
                .blocks = sequences * (context / kBlock + 1),
                .block_size = kBlock,
                .kv_heads = kKvHeads,
                .head_dim = kHeadDim}),
        ones_(kHidden, 1.0f) {
    for (uint64_t layer = 0; layer < kLayers; ++layer) {
      Layer& l = layers_.emplace_back();
      l.qkv = RandomPacked(pool, kind, (kHeads + 2 * kKvHeads) * kHeadDim, kHidden, layer * 99);
      l.o = RandomPacked(pool, kind, kHidden, kHeads * kHeadDim, layer * 99 + 1);
      l.router = RandomPacked(pool, WeightKind{DType::kF32, {}}, kExperts, kHidden, layer * 99 + 2);
      l.experts.resize(kExperts);
      for (uint64_t e = 0; e < kExperts; ++e) {
        // Random weights need no interleaving of gate and up.
        l.experts[e].gate_up = RandomPacked(pool, kind, 2 * kInner, kHidden, layer * 99 + 3 + e);
        l.experts[e].down = RandomPacked(pool, kind, kHidden, kInner, layer * 99 + 20 + e);
      }
    }
    head_ = RandomPacked(pool, kind, kVocab, kHidden, 7777);
    for (int64_t s = 0; s < sequences; ++s) {
      pages_.emplace_back(static_cast<size_t>(context / kBlock + 1));
      std::iota(pages_.back().begin(), pages_.back().end(),
                static_cast<int32_t>(s * (context / kBlock + 1)));
    }
  }

  // `rows` tokens for every sequence, the last of them at position context - 1; logits of the last
  // one. Returns the bytes of weights that were read.
  int64_t Step(int64_t rows) {
    workspace_.Reset();
    bytes_ = 0;
    sequences_.clear();
    const auto count = static_cast<int64_t>(pages_.size());
    for (int64_t s = 0; s < count; ++s) {
      sequences_.push_back({s * rows, rows, context_ - rows, pages_[static_cast<size_t>(s)]});
    }
    const int64_t tokens = rows * count;
    Matrix residual = workspace_.GetMatrix(tokens, kHidden);
    Matrix delta = workspace_.GetMatrix(tokens, kHidden);
    Matrix x = workspace_.GetMatrix(tokens, kHidden);
    for (int64_t i = 0; i < tokens * kHidden; ++i) {
      residual.data[i] = static_cast<float>((i * 7919) % 2003 - 1001) * 1e-3f;
      delta.data[i] = 0.0f;
    }
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      AddRmsNorm(pool_, delta, 1.0f, ones_, 1e-5f, residual, x);
      Attention(static_cast<int64_t>(layer), x, delta);
      AddRmsNorm(pool_, delta, 1.0f, ones_, 1e-5f, residual, x);
      Moe(layers_[layer], x, delta);
    }
    AddRmsNorm(pool_, delta, 1.0f, ones_, 1e-5f, residual, x);
    Matrix last = workspace_.GetMatrix(count, kHidden);
    for (int64_t s = 0; s < count; ++s)
      std::copy_n(x.Row((s + 1) * rows - 1), kHidden, last.Row(s));
    Matrix logits = workspace_.GetMatrix(count, kVocab);
    Multiply(last, head_, logits);
    return bytes_;
  }

  int64_t allocations() const { return workspace_.allocations(); }

 private:
  struct Layer {
    PackedMatrix qkv, o, router;
    std::vector<GatedFfnWeights> experts;
  };

  void Multiply(ConstMatrix x, const PackedMatrix& w, Matrix out) {
    Gemm(pool_, x, w, {}, workspace_, out);
    bytes_ += w.bytes();
  }

  void Attention(int64_t layer, ConstMatrix x, Matrix out) {
    const auto mark = workspace_.Mark();
    const int64_t q_cols = kHeads * kHeadDim;
    const int64_t kv_cols = kKvHeads * kHeadDim;
    Matrix qkv = workspace_.GetMatrix(x.rows, q_cols + 2 * kv_cols);
    Multiply(x, layers_[static_cast<size_t>(layer)].qkv, qkv);
    const Matrix q(qkv.data, x.rows, q_cols, qkv.stride);
    const Matrix k(qkv.data + q_cols, x.rows, kv_cols, qkv.stride);
    const Matrix v(qkv.data + q_cols + kv_cols, x.rows, kv_cols, qkv.stride);
    Matrix cos = workspace_.GetMatrix(x.rows, kHeadDim / 2);
    Matrix sin = workspace_.GetMatrix(x.rows, kHeadDim / 2);
    std::fill_n(cos.data, x.rows * kHeadDim / 2, 0.8f);
    std::fill_n(sin.data, x.rows * kHeadDim / 2, 0.6f);
    ApplyRope(pool_, cos, sin, {.head_dim = kHeadDim}, q);
    ApplyRope(pool_, cos, sin, {.head_dim = kHeadDim}, k);
    StoreKv(pool_, layer, sequences_, k, v, cache_);
    Matrix attended = workspace_.GetMatrix(x.rows, q_cols);
    PagedAttention(pool_, {.layer = layer, .heads = kHeads, .scale = 0.125f, .window = 0},
                   sequences_, q, cache_, workspace_, attended);
    Multiply(attended, layers_[static_cast<size_t>(layer)].o, out);
    workspace_.Release(mark);
  }

  void Moe(const Layer& layer, ConstMatrix x, Matrix out) {
    const auto mark = workspace_.Mark();
    Matrix scores = workspace_.GetMatrix(x.rows, kExperts);
    Multiply(x, layer.router, scores);
    std::span<int32_t> choice = workspace_.Get<int32_t>(x.rows * kTopK);
    std::span<int64_t> place = workspace_.Get<int64_t>(x.rows * kTopK);
    std::span<int64_t> offsets = workspace_.Get<int64_t>(kExperts + 1);
    std::fill(offsets.begin(), offsets.end(), 0);
    for (int64_t t = 0; t < x.rows; ++t) {
      TopK(scores.RowSpan(t), choice.subspan(static_cast<size_t>(t * kTopK), kTopK));
    }
    for (const int32_t e : choice) ++offsets[static_cast<size_t>(e) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    Matrix grouped = workspace_.GetMatrix(x.rows * kTopK, kHidden);
    std::span<int64_t> next = workspace_.Get<int64_t>(kExperts);
    std::copy_n(offsets.begin(), kExperts, next.begin());
    for (size_t i = 0; i < choice.size(); ++i) {
      place[i] = next[static_cast<size_t>(choice[i])]++;
      std::copy_n(x.Row(static_cast<int64_t>(i) / kTopK), kHidden, grouped.Row(place[i]));
    }
    std::span<const GatedFfnWeights*> experts = workspace_.Get<const GatedFfnWeights*>(kExperts);
    for (size_t e = 0; e < kExperts; ++e) {
      experts[e] = &layer.experts[e];
      if (offsets[e] == offsets[e + 1]) continue;
      bytes_ += experts[e]->gate_up.bytes() + experts[e]->down.bytes();
    }
    Matrix hidden = workspace_.GetMatrix(grouped.rows, kInner);
    Matrix result = workspace_.GetMatrix(grouped.rows, kHidden);
    GroupedGatedFfn(pool_, experts, offsets, Activation::kSilu, grouped, workspace_, hidden,
                    result);
    for (int64_t t = 0; t < x.rows; ++t) {
      const float* a = result.Row(place[static_cast<size_t>(t * kTopK)]);
      const float* b = result.Row(place[static_cast<size_t>(t * kTopK + 1)]);
      for (int64_t i = 0; i < kHidden; ++i) out.Row(t)[i] = 0.6f * a[i] + 0.4f * b[i];
    }
    workspace_.Release(mark);
  }

  ThreadPool& pool_;
  int64_t context_;
  KvCache cache_;
  std::vector<float> ones_;
  std::vector<Layer> layers_;
  PackedMatrix head_;
  std::vector<std::vector<int32_t>> pages_;
  std::vector<AttentionSequence> sequences_;
  Workspace workspace_;
  int64_t bytes_ = 0;
};

}  // namespace folkmoot
