// SPDX-License-Identifier: Apache-2.0
// Mistral Large 4's softmax scaling (Transformers' modeling_mistral_large4.py): each head
// multiplies its queries with scale * ln(position + 1) + bias, both learned, so that scores keep
// apart among more and more keys.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"

namespace folkmoot {

class QueryScale {
 public:
  // Of heads first .. first + count of `heads`.
  static absl::StatusOr<QueryScale> Load(WeightLoader& loader, const QueryScaleNames& names,
                                         int64_t heads, int64_t first, int64_t count);
  // q [T, these heads * any width], in place; AttentionStep::log_positions [T].
  void Apply(LayerContext& ctx, std::span<const float> log_positions, Matrix q) const;

 private:
  std::vector<float> scale_, bias_;  // of these heads
};

}  // namespace folkmoot
