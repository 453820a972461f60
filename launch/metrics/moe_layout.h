// SPDX-License-Identifier: Apache-2.0
// Which experts the served model has and where they live: what metrics, /moe/experts and the page
// need to know besides the engine's counters.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace folkmoot {

struct MoeLayout {
  std::vector<int> layers;  // of each MoE layer: its index among all layers; empty: a dense model
  int experts = 0;          // per MoE layer
  int top_k = 0;            // experts per token
  int ranks = 1;
  std::vector<int> rank_of_expert;  // [experts], the same in every layer
  std::string placement;            // as asked for: "contiguous", "round_robin", a file

  // Length of ExpertCounts::tokens: [MoE layers, experts].
  size_t cells() const { return layers.size() * static_cast<size_t>(experts); }
};

}  // namespace folkmoot
