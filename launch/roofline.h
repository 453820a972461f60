// SPDX-License-Identifier: Apache-2.0
// What a machine could do at best with a model: the yardstick of `bench throughput`. A step takes
// at least the time to read what it touches, and at least the time to multiply by it.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/model_config.h"

namespace folkmoot {

struct StepCost {
  // Of weights (attention, router, shared expert, head, and the experts that are touched: with
  // uniform routing E (1 - (1 - k/E)^tokens)), and of cached keys and values.
  double bytes = 0;
  double flops = 0;  // two per weight and token, and attention
};

// A prompt of `tokens` tokens, with logits for the last one.
StepCost CostOfPrefill(const ModelConfig& config, DType weights, int64_t tokens);
// One more token for each of `batch` sequences of `context` tokens.
StepCost CostOfDecode(const ModelConfig& config, DType weights, int64_t cache_bytes_per_token,
                      int64_t batch, int64_t context);

// Seconds at `bytes_per_second` and `flops_per_second`.
double BestSeconds(const StepCost& cost, double bytes_per_second, double flops_per_second);

}  // namespace folkmoot
