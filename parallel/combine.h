// SPDX-License-Identifier: Apache-2.0
// The one weighted sum that every dispatcher ends in, so that all of them give the same bits.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/routing.h"
#include "runtime/tensor.h"

namespace folkmoot {

// out[t] = sum over k = 0..K-1, in this order, of
//   weight * rows[t * K + k]  for kExpert (without the weight under weight_on_input),
//   weight * x[t]             for kIdentity,
//   nothing                   for kNone.
// Starts at +0; one rounding for each product, one for each sum. rows [T * K] are pointers to H
// floats, looked at for kExpert only. out must not overlap x or the rows.
void CombineRows(ConstMatrix x, const Routing& routing, std::span<const float* const> rows,
                 Matrix out);

// to = x for a plain expert, to = weight * x under weight_on_input: the row that an expert sees.
void CopyExpertRow(const float* x, int64_t hidden, bool weight_on_input, float weight, float* to);

// FM_CHECKs that the spans of `routing` have the size of its shape and fit x, and that every
// expert of a kExpert choice is in [0, experts).
void CheckRouting(ConstMatrix x, const Routing& routing, int experts);

}  // namespace folkmoot
