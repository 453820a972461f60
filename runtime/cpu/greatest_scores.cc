// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/greatest_scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

namespace folkmoot::cpu {
namespace {

// Numbers in the order of scores, in which both zeros are one and NaN is the greatest.
uint32_t OrderOf(float score) {
  if (std::isnan(score)) return UINT32_MAX;
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 + 0 is 0
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

}  // namespace

void KeepGreatest(std::span<const float> scores, uint32_t* orders, int64_t row,
                  const ChosenKeys& chosen) {
  const int64_t most = chosen.most;
  int32_t* positions = chosen.positions.data() + row * most;
  uint32_t* const end = std::transform(scores.begin(), scores.end(), orders, OrderOf);
  std::nth_element(orders, orders + most - 1, end, std::greater<>());
  const uint32_t least = orders[most - 1];
  int64_t ties = most - std::count_if(orders, orders + most,
                                      [least](uint32_t order) { return order > least; });
  for (size_t place = 0; place < scores.size(); ++place) {
    const uint32_t order = OrderOf(scores[place]);
    if (order < least || (order == least && ties-- <= 0)) continue;
    *positions++ = static_cast<int32_t>(place);
  }
  chosen.counts[static_cast<size_t>(row)] = static_cast<int32_t>(most);
}

}  // namespace folkmoot::cpu
