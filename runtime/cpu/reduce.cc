// SPDX-License-Identifier: Apache-2.0
// Reductions of one row of logits or scores.
#include <algorithm>
#include <bit>

#include "runtime/cpu/norm.h"

namespace folkmoot::cpu {

int64_t ArgMax(std::span<const float> values) {
  // Eight running maxima hide the latency of the comparison; the first equal element is the answer.
  constexpr size_t kChains = 8;
  float top[kChains];
  std::fill_n(top, kChains, values[0]);
  size_t i = 0;
  for (; i + kChains <= values.size(); i += kChains) {
    for (size_t c = 0; c < kChains; ++c) top[c] = values[i + c] > top[c] ? values[i + c] : top[c];
  }
  float best = *std::max_element(top, top + kChains);
  for (; i < values.size(); ++i) best = std::max(best, values[i]);
  const auto found = std::find(values.begin(), values.end(), best);
  return found == values.end() ? 0 : found - values.begin();  // only NaN is nowhere equal
}

void TopK(std::span<const float> values, std::span<int32_t> indices) {
  // A heap of the best so far with the worst of them in front. Greater values come first; of equal
  // ones the lower index.
  const auto before = [&](int32_t a, int32_t b) {
    const float va = values[static_cast<size_t>(a)];
    const float vb = values[static_cast<size_t>(b)];
    return va != vb ? va > vb : a < b;
  };
  const size_t k = indices.size();
  if (k == 0) return;
  for (size_t i = 0; i < k; ++i) indices[i] = static_cast<int32_t>(i);
  std::make_heap(indices.begin(), indices.end(), before);
  for (size_t i = k; i < values.size(); ++i) {
    if (!(values[i] > values[static_cast<size_t>(indices[0])])) continue;
    std::pop_heap(indices.begin(), indices.end(), before);
    indices[k - 1] = static_cast<int32_t>(i);
    std::push_heap(indices.begin(), indices.end(), before);
  }
  std::sort_heap(indices.begin(), indices.end(), before);
}

bool AllFinite(std::span<const float> values) {
  uint32_t bad = 0;
  for (const float value : values) {
    bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(value) & 0x7f800000u) == 0x7f800000u);
  }
  return bad == 0;
}

}  // namespace folkmoot::cpu
