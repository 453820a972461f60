// SPDX-License-Identifier: Apache-2.0
// The end of choosing keys: of the scores of a row the places of the greatest.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/attention.h"

namespace folkmoot::cpu {

// Writes the places of the chosen.most greatest scores, of which there are more, to row `row` of
// `chosen`, ascending. Of equal ones the lower place counts; NaN is the greatest. `orders` has room
// for all scores.
void KeepGreatest(std::span<const float> scores, uint32_t* orders, int64_t row,
                  const ChosenKeys& chosen);

}  // namespace folkmoot::cpu
