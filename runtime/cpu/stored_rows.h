// SPDX-License-Identifier: Apache-2.0
// How a row of keys or values is rounded for a cache.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/ops/row_pages.h"

namespace folkmoot::cpu {

// Codes of x / scale to to[i * stride]; returns the scale, max|x| / 127, NaN where a value is not
// finite.
float StoreInt8(const float* x, int64_t count, int8_t* to, int64_t stride);

void StoreRows(ThreadPool& pool, int64_t track, std::span<const AttentionSequence> sequences,
               ConstMatrix x, RowPages& pages);

}  // namespace folkmoot::cpu
