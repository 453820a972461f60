// SPDX-License-Identifier: Apache-2.0
// Arithmetic over counters of tokens per expert: a recent window, sums per rank, balance.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "launch/metrics/moe_layout.h"

namespace folkmoot {

// How much growing counters grew lately.
class ExpertWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;
  ExpertWindow(size_t cells, std::chrono::milliseconds length);

  // `totals`: [cells], or shorter when nothing has been counted yet. Times must not go back.
  void Add(Time now, const std::vector<int64_t>& totals);

  // Growth per cell over the window.
  std::vector<int64_t> Recent() const;
  // Of the window: about `length`, less after the start, more after a pause between calls.
  double seconds() const;

 private:
  struct Sample {
    Time time;
    std::vector<int64_t> totals;
  };
  size_t cells_;
  std::chrono::milliseconds length_;
  std::deque<Sample> samples_;  // a tenth of the length apart, but for the last; never empty
};

// counts [MoE layers, experts] -> [MoE layers, ranks].
std::vector<int64_t> SumByRank(const MoeLayout& layout, const std::vector<int64_t>& counts);

// Mean over maximum of counts[first .. first + count): 1 when all are equal, 1 / count when one has
// everything. NaN when all are zero. SGLang calls it balancedness.
double Balancedness(const std::vector<int64_t>& counts, size_t first, size_t count);

}  // namespace folkmoot
