// SPDX-License-Identifier: Apache-2.0
// On which rank a sequence runs.
#pragma once

#include <cstdint>
#include <span>

namespace folkmoot {

struct RankLoad {
  bool fits = false;           // has the pages and tokens of this step to spare
  int64_t prefill_tokens = 0;  // of its running sequences, still to compute
  int64_t running = 0;         // sequences
  int64_t cached_tokens = 0;   // of the new sequence, in the rank's prefix cache
};

// A running sequence weighs as much as so many tokens of prefill: it takes one in each of the
// steps to come, and all ranks wait for the one with the most tokens.
constexpr int64_t kDecodeWeight = 16;
// For further choices of a request, which should share its pages.
constexpr int64_t kSiblingDecodeWeight = 1;

// Work of a rank once it has a new sequence of `tokens` tokens: what it has to compute for others,
// and what of the new sequence is not in its prefix cache. So a cached prefix attracts as long as
// the loads differ by less than its length.
inline int64_t PlacementCost(const RankLoad& load, int64_t tokens, int64_t decode_weight) {
  return load.prefill_tokens + decode_weight * load.running + tokens - load.cached_tokens;
}

// The rank with the least cost, the lowest one when equal; -1: it fits nowhere.
inline int ChooseRank(std::span<const RankLoad> loads, int64_t tokens, int64_t decode_weight) {
  int best = -1;
  int64_t least = 0;
  for (size_t r = 0; r < loads.size(); ++r) {
    const int64_t cost = PlacementCost(loads[r], tokens, decode_weight);
    if (!loads[r].fits || (best >= 0 && cost >= least)) continue;
    best = static_cast<int>(r);
    least = cost;
  }
  return best;
}

}  // namespace folkmoot
