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

int64_t CountOf(int64_t scores, const BlocksOfKeys& blocks) {
  return (scores + blocks.size - 1) / blocks.size;
}

// The order of each block, that of its greatest score, and behind those the same again.
void OrdersOfBlocks(std::span<const float> scores, const BlocksOfKeys& blocks, uint32_t* orders) {
  const int64_t count = CountOf(std::ssize(scores), blocks);
  std::fill_n(orders, count, 0u);
  uint32_t* order = orders;
  for (int64_t first = 0; first < std::ssize(scores); first += blocks.size, ++order) {
    const int64_t end = std::min(first + blocks.size, std::ssize(scores));
    for (int64_t p = first; p < end; ++p) {
      *order = std::max(*order, OrderOf(scores[static_cast<size_t>(p)]));
    }
  }
  const int64_t local = std::min(blocks.local, count);
  std::fill_n(orders + count - local, local, UINT32_MAX);
  std::copy_n(orders, count, orders + count);
}

}  // namespace

int64_t OrdersFor(int64_t scores, const BlocksOfKeys& blocks) {
  return 2 * CountOf(scores, blocks);
}

void KeepGreatest(std::span<const float> scores, const BlocksOfKeys& blocks, uint32_t* orders,
                  int64_t row, const ChosenKeys& chosen) {
  int32_t* const positions = chosen.positions.data() + row * chosen.most;
  const int64_t kept = chosen.most / blocks.size;
  const int64_t count = CountOf(std::ssize(scores), blocks);
  OrdersOfBlocks(scores, blocks, orders);
  std::nth_element(orders, orders + kept - 1, orders + count, std::greater<>());
  const uint32_t least = orders[kept - 1];
  int64_t ties = kept - std::count_if(orders, orders + kept,
                                      [least](uint32_t order) { return order > least; });
  int32_t written = 0;
  for (int64_t block = 0; block < count; ++block) {
    const uint32_t order = orders[count + block];
    if (order < least || (order == least && ties-- <= 0)) continue;
    const int64_t end = std::min((block + 1) * blocks.size, std::ssize(scores));
    for (int64_t p = block * blocks.size; p < end; ++p) {
      positions[written++] = static_cast<int32_t>(p);
    }
  }
  chosen.counts[static_cast<size_t>(row)] = written;
}

}  // namespace folkmoot::cpu
