// SPDX-License-Identifier: Apache-2.0
// How the columns of a matrix are divided among ranks: consecutive runs in the order of ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/check.h"

namespace folkmoot {

class ColumnSplit {
 public:
  ColumnSplit() : ColumnSplit({0, 0}) {}
  // Rank r has columns begins[r] .. begins[r + 1]; any number, none included.
  explicit ColumnSplit(std::vector<int64_t> begins) : begins_(std::move(begins)) {
    FM_CHECK(begins_.size() >= 2 && begins_.front() == 0);
    for (size_t r = 1; r < begins_.size(); ++r) FM_CHECK(begins_[r - 1] <= begins_[r]);
  }
  // As even as whole units of `unit` columns allow; the last unit may be short.
  static ColumnSplit Even(int64_t cols, int64_t unit, int ranks) {
    FM_CHECK(cols >= 0 && unit > 0 && ranks > 0);
    const int64_t units = (cols + unit - 1) / unit;
    std::vector<int64_t> begins;
    for (int64_t r = 0; r <= ranks; ++r) begins.push_back(std::min(cols, units * r / ranks * unit));
    return ColumnSplit(std::move(begins));
  }
  // Every column stands for `times` columns.
  ColumnSplit Times(int64_t times) const {
    std::vector<int64_t> begins = begins_;
    for (int64_t& begin : begins) begin *= times;
    return ColumnSplit(std::move(begins));
  }

  int ranks() const { return static_cast<int>(begins_.size()) - 1; }
  int64_t cols() const { return begins_.back(); }
  int64_t begin(int rank) const { return begins_[static_cast<size_t>(rank)]; }
  int64_t width(int rank) const { return begin(rank + 1) - begin(rank); }
  int64_t widest() const {
    int64_t most = 0;
    for (int r = 0; r < ranks(); ++r) most = std::max(most, width(r));
    return most;
  }

 private:
  std::vector<int64_t> begins_;
};

}  // namespace folkmoot
