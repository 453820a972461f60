// SPDX-License-Identifier: Apache-2.0
// Which rank holds which expert. Immutable once made; the same on every rank.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

class ExpertPlacement {
 public:
  // Experts 0..n-1 in consecutive runs; the first experts % ranks ranks hold one more. More ranks
  // than experts leaves some with none.
  static ExpertPlacement Contiguous(int experts, int ranks);
  // Expert e on rank e % ranks.
  static ExpertPlacement RoundRobin(int experts, int ranks);
  // rank_of[e] for every expert; any number per rank, zero included.
  static absl::StatusOr<ExpertPlacement> Explicit(std::vector<int> rank_of, int ranks);
  // "contiguous", "round_robin", or the path of a JSON file [rank of expert 0, rank of expert 1,
  // ...].
  static absl::StatusOr<ExpertPlacement> Parse(std::string_view text, int experts, int ranks);

  int experts() const { return static_cast<int>(rank_of_.size()); }
  int ranks() const { return static_cast<int>(experts_of_.size()); }
  int rank_of(int expert) const { return rank_of_[static_cast<size_t>(expert)]; }
  // The expert's slot on its rank: its index in experts_of(rank_of(expert)).
  int slot_of(int expert) const { return slot_of_[static_cast<size_t>(expert)]; }
  // Logical ids in ascending order.
  const std::vector<int>& experts_of(int rank) const {
    return experts_of_[static_cast<size_t>(rank)];
  }
  // The same number for the same placement: ranks compare it before they exchange tokens.
  uint64_t Fingerprint() const;

 private:
  ExpertPlacement(std::vector<int> rank_of, int ranks);

  std::vector<int> rank_of_;
  std::vector<int> slot_of_;
  std::vector<std::vector<int>> experts_of_;
};

}  // namespace folkmoot
