// SPDX-License-Identifier: Apache-2.0
#include "launch/metrics/expert_load.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace folkmoot {
namespace {
constexpr int kSamples = 10;  // per window
}

ExpertWindow::ExpertWindow(size_t cells, std::chrono::milliseconds length)
    : cells_(cells), length_(length) {}

void ExpertWindow::Add(Time now, const std::vector<int64_t>& totals) {
  Sample sample = {now, totals};
  sample.totals.resize(cells_, 0);
  // The last sample is the present; it moves until it is far enough from the one before.
  const size_t count = samples_.size();
  if (count >= 2 && samples_[count - 1].time - samples_[count - 2].time < length_ / kSamples) {
    samples_.back() = std::move(sample);
  } else {
    samples_.push_back(std::move(sample));
  }
  while (samples_.size() > 2 && now - samples_[1].time >= length_) samples_.pop_front();
}

std::vector<int64_t> ExpertWindow::Recent() const {
  std::vector<int64_t> growth(cells_, 0);
  if (samples_.empty()) return growth;
  for (size_t i = 0; i < cells_; ++i) {
    growth[i] = samples_.back().totals[i] - samples_.front().totals[i];
  }
  return growth;
}

double ExpertWindow::seconds() const {
  if (samples_.empty()) return 0;
  return std::chrono::duration<double>(samples_.back().time - samples_.front().time).count();
}

std::vector<int64_t> SumByRank(const MoeLayout& layout, const std::vector<int64_t>& counts) {
  const auto ranks = static_cast<size_t>(layout.ranks);
  const auto experts = static_cast<size_t>(layout.experts);
  std::vector<int64_t> sums(layout.layers.size() * ranks, 0);
  for (size_t i = 0; i < counts.size() && i < layout.cells(); ++i) {
    const auto rank = static_cast<size_t>(layout.rank_of_expert[i % experts]);
    sums[i / experts * ranks + rank] += counts[i];
  }
  return sums;
}

double Balancedness(const std::vector<int64_t>& counts, size_t first, size_t count) {
  int64_t sum = 0;
  int64_t most = 0;
  for (size_t i = first; i < first + count; ++i) {
    sum += counts[i];
    most = std::max(most, counts[i]);
  }
  if (most == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(sum) / static_cast<double>(count) / static_cast<double>(most);
}

}  // namespace folkmoot
