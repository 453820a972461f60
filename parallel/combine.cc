// SPDX-License-Identifier: Apache-2.0
#include "parallel/combine.h"

#include <algorithm>
#include <cstring>

#include "runtime/check.h"

namespace folkmoot {
namespace {

void AddScaled(float* __restrict to, const float* __restrict row, float weight, int64_t hidden) {
  for (int64_t h = 0; h < hidden; ++h) to[h] += weight * row[h];
}

void Add(float* __restrict to, const float* __restrict row, int64_t hidden) {
  for (int64_t h = 0; h < hidden; ++h) to[h] += row[h];
}

}  // namespace

void CombineRows(ConstMatrix x, const Routing& routing, std::span<const float* const> rows,
                 Matrix out) {
  FM_CHECK(out.rows == x.rows && out.cols == x.cols);
  const int64_t hidden = x.cols;
  for (int64_t t = 0; t < routing.tokens; ++t) {
    float* to = out.Row(t);
    std::fill_n(to, hidden, 0.0f);
    for (int64_t k = 0; k < routing.top_k; ++k) {
      const size_t choice = static_cast<size_t>(t * routing.top_k + k);
      switch (routing.action[choice]) {
        case SlotAction::kNone:
          break;
        case SlotAction::kIdentity:
          AddScaled(to, x.Row(t), routing.weight[choice], hidden);
          break;
        case SlotAction::kExpert:
          if (routing.weight_on_input) {
            Add(to, rows[choice], hidden);
          } else {
            AddScaled(to, rows[choice], routing.weight[choice], hidden);
          }
          break;
      }
    }
  }
}

void CopyExpertRow(const float* x, int64_t hidden, bool weight_on_input, float weight, float* to) {
  if (weight_on_input) {
    for (int64_t h = 0; h < hidden; ++h) to[h] = weight * x[h];
  } else if (hidden > 0) {
    std::memcpy(to, x, static_cast<size_t>(hidden) * sizeof(float));
  }
}

void CheckRouting(ConstMatrix x, const Routing& routing, int experts) {
  FM_CHECK(routing.tokens == x.rows && routing.top_k >= 0);
  const size_t choices = static_cast<size_t>(routing.tokens * routing.top_k);
  FM_CHECK(routing.expert.size() >= choices && routing.weight.size() >= choices &&
           routing.action.size() >= choices);
  for (size_t choice = 0; choice < choices; ++choice) {
    if (routing.action[choice] != SlotAction::kExpert) continue;
    FM_CHECK(routing.expert[choice] >= 0 && routing.expert[choice] < experts);
  }
}

}  // namespace folkmoot
