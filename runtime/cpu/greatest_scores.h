// SPDX-License-Identifier: Apache-2.0
// The end of choosing keys: of the scores of a row the places of the greatest.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"

namespace folkmoot::cpu {

// Places are chosen in blocks, by the greatest score in each; the last `local` of them always are.
struct BlocksOfKeys {
  int64_t size = 1;
  int64_t local = 0;
};

// Numbers of `orders` for so many scores.
int64_t OrdersFor(int64_t scores, const BlocksOfKeys& blocks);

// Writes the places in the blocks of the greatest scores to row `row` of `chosen`, ascending:
// chosen.most of them, or fewer where the last block is one of them and not full. There are more
// blocks than that. Of equal ones the lower counts; NaN is the greatest.
void KeepGreatest(std::span<const float> scores, const BlocksOfKeys& blocks, uint32_t* orders,
                  int64_t row, const ChosenKeys& chosen);

}  // namespace folkmoot::cpu
