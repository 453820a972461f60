// SPDX-License-Identifier: Apache-2.0
// Numbers by the distance of a key from its query, laid out for the kernels of attention: keys that
// stand side by side find theirs side by side.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace folkmoot {

class DistanceProfiles {
 public:
  // At() may be asked for so many distances below 0 and beyond the extent, whose numbers are zeros.
  static constexpr int64_t kAround = 16;

  DistanceProfiles() = default;
  // profiles [count, extent], the number of distance 0 first.
  DistanceProfiles(std::span<const float> profiles, int64_t count);

  int64_t count() const { return count_; }
  int64_t extent() const { return extent_; }
  // The number of profile `index` at `distance`; behind it stand those of smaller distances.
  const float* At(int64_t index, int64_t distance) const {
    return numbers_.data() + index * stride() + kAround + extent_ - 1 - distance;
  }

 private:
  int64_t stride() const { return extent_ + 2 * kAround; }

  int64_t count_ = 0;
  int64_t extent_ = 0;
  std::vector<float> numbers_;  // [count, zeros, distances extent - 1 .. 0, zeros]
};

}  // namespace folkmoot
