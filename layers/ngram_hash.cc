// SPDX-License-Identifier: Apache-2.0
#include "layers/ngram_hash.h"

#include <algorithm>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;

// Steele, Lea and Flood 2014.
uint64_t SplitMix64(uint64_t x) {
  x += kGolden;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

bool IsPrime(int64_t n) {
  if (n < 4) return n >= 2;
  if (n % 2 == 0) return false;
  for (int64_t divisor = 3; divisor * divisor <= n; divisor += 2) {
    if (n % divisor == 0) return false;
  }
  return true;
}

}  // namespace

NgramHash::NgramHash(const NgramConfig& config, int64_t vocab, int64_t place)
    : heads_(config.heads) {
  const uint64_t most = static_cast<uint64_t>(INT64_MAX / std::max<int64_t>(vocab, 1));
  const uint64_t bound = std::max<uint64_t>(most / 2, 1);
  constexpr uint64_t kOfLayer = 10007;  // keeps seeds of layers apart
  uint64_t seed = static_cast<uint64_t>(config.seed) + kOfLayer * static_cast<uint64_t>(place);
  for (int64_t i = 0; i < config.size; ++i) {
    seed += kGolden;
    factors_.push_back(static_cast<int64_t>(2 * (SplitMix64(seed) % bound) + 1));
  }
  int64_t prime = config.least - 1;
  for (int64_t hash = -place * config.hashes(); hash < config.hashes(); ++hash) {
    do ++prime;
    while (!IsPrime(prime));
    if (hash < 0) continue;  // of a layer before
    sizes_.push_back(prime);
    offsets_.push_back(table_rows_);
    table_rows_ += prime;
  }
  table_rows_ = (table_rows_ + config.multiple - 1) / config.multiple * config.multiple;
}

void NgramHash::Rows(std::span<const int32_t> tokens, std::span<int64_t> rows) const {
  FM_CHECK(tokens.size() == factors_.size() && rows.size() == sizes_.size());
  int64_t mixed = tokens[0] * factors_[0];
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t ngram = i / static_cast<size_t>(heads_) + 1;  // tokens before the last
    if (i % static_cast<size_t>(heads_) == 0) mixed ^= tokens[ngram] * factors_[ngram];
    rows[i] = mixed % sizes_[i] + offsets_[i];
  }
}

}  // namespace folkmoot
