// SPDX-License-Identifier: Apache-2.0
// What a machine could do at best with a model: the yardstick of `bench throughput`. A step takes
// at least the time to read the weights that it touches, and at least the time to multiply by them.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct StepCost {
  double bytes =
      0;  // of weights: attention, router, shared expert, head, and the experts that are touched
  double flops = 0;  // two per weight and token, and the attention of `context` positions
};

// `tokens` new tokens after `context` earlier ones, with logits for `logit_rows` of them. The
// number of experts touched is that of uniform routing, E (1 - (1 - k/E)^tokens).
StepCost CostOfStep(const ModelConfig& config, DType weights, int64_t tokens, int64_t context,
                    int64_t logit_rows);

// Seconds at `bytes_per_second` and `flops_per_second`.
double BestSeconds(const StepCost& cost, double bytes_per_second, double flops_per_second);

}  // namespace folkmoot
