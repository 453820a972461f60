// SPDX-License-Identifier: Apache-2.0
// What a machine could do at best with a model: the yardstick of `bench throughput`. A step takes
// at least the time to read what it touches, and at least the time to multiply by it.
#pragma once

#include <cstdint>

#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

struct StepCost {
  // Of weights (attention, router, shared expert, head, and the experts that are touched: with
  // uniform routing E (1 - (1 - k/E)^tokens)), and of what sequences keep.
  double bytes = 0;
  double flops = 0;        // two per weight and token
  double score_flops = 0;  // of attention, always in float32
};

struct StepWeights {
  double dense = 0;             // DenseWeights
  double bytes_per_weight = 0;  // scales included
};
// Of all matrices but those of routed experts.
absl::StatusOr<double> DenseWeights(const ModelConfig& config);

// What a sequence keeps beside the weights: keys and values of each token, which a step reads, and
// recurrent state, which it reads and writes.
struct SequenceBytes {
  int64_t per_token = 0;
  int64_t state = 0;
};

// A prompt of `tokens` tokens, with logits for the last one.
StepCost CostOfPrefill(const ModelConfig& config, const StepWeights& weights, int64_t tokens);
// One more token for each of `batch` sequences of `context` tokens.
StepCost CostOfDecode(const ModelConfig& config, const StepWeights& weights,
                      const SequenceBytes& kept, int64_t batch, int64_t context);

// Rates of a machine, per second. `operations` are those that products with the weights take:
// float32 ones, or integer ones with quantised weights.
struct MachineRates {
  double bytes = 0;
  double operations = 0;
  double flops = 0;
};
double BestSeconds(const StepCost& cost, const MachineRates& rates);

}  // namespace folkmoot
