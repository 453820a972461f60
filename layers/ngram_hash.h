// SPDX-License-Identifier: Apache-2.0
// Which rows of a table of embeddings belong to the n-grams that end at a token (Qwen4-Exp, as
// Transformers' modeling_qwen4_exp.py computes them). For tokens t[0], the last, t[1] before it, ..
// and an n-gram of m of them, each hash reads row
//
//   (t[0] * a[0] xor .. xor t[m - 1] * a[m - 1]) mod size of the hash's part
//
// of its part of the table. Factors a are odd numbers by SplitMix64 of the seed, so small that
// products stay below 2^63; sizes are primes, one after the other, different for all hashes of all
// layers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/stream_config.h"

namespace folkmoot {

// What config.json may ask for: tokens of an n-gram, and hashes of all layers, whose primes must be
// found before a model is loaded.
inline constexpr int64_t kLongestNgram = 16;
inline constexpr int64_t kMostNgramHashes = 512;

class NgramHash {
 public:
  NgramHash() = default;
  // Of the layer that is number `place` of those with n-grams, from 0.
  NgramHash(const NgramConfig& config, int64_t vocab, int64_t place);

  // `tokens` are the config's `size` last, the latest first; rows [hashes]: 2-grams first.
  void Rows(std::span<const int32_t> tokens, std::span<int64_t> rows) const;

  int64_t table_rows() const { return table_rows_; }
  // As checkpoints have them.
  std::span<const int64_t> factors() const { return factors_; }
  std::span<const int64_t> sizes() const { return sizes_; }
  std::span<const int64_t> offsets() const { return offsets_; }

 private:
  int64_t heads_ = 0;  // hashes of each length
  int64_t table_rows_ = 0;
  std::vector<int64_t> factors_;          // [size]
  std::vector<int64_t> sizes_, offsets_;  // [hashes]: rows of its part, and those before it
};

}  // namespace folkmoot
