// SPDX-License-Identifier: Apache-2.0
#include "runtime/ops/distance_profiles.h"

#include <algorithm>
#include <iterator>

#include "runtime/check.h"

namespace folkmoot {

DistanceProfiles::DistanceProfiles(std::span<const float> profiles, int64_t count)
    : count_(count), extent_(std::ssize(profiles) / count) {
  FM_CHECK(count > 0 && extent_ > 0 && count * extent_ == std::ssize(profiles));
  numbers_.resize(static_cast<size_t>(count_ * stride()));
  for (int64_t i = 0; i < count_; ++i) {
    std::reverse_copy(profiles.begin() + i * extent_, profiles.begin() + (i + 1) * extent_,
                      numbers_.begin() + i * stride() + kAround);
  }
}

}  // namespace folkmoot
