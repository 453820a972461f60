// SPDX-License-Identifier: Apache-2.0
// Stages 1 and 2 of a gate: logits and scores of one token. In double, because decisions must not
// hinge on ties that float32 makes (two probabilities that round to 1); see docs/gates.md. Only
// operations of IEEE 754 and runtime/exact_math.h: runtime/cuda/routing repeats them bit for bit.
#pragma once

#include <span>

#include "layers/gates/gate_config.h"

namespace folkmoot {

// out[e] = in[e] + bias[e], rounded to bfloat16 if the config says so. `bias` may be empty.
void RouterLogits(const GateConfig& config, std::span<const float> in, std::span<const float> bias,
                  std::span<double> out);

// out[i] = exp(in[i]) / sum, in the order of the elements. `in` and `out` may be the same.
void SoftmaxRow(std::span<const double> in, std::span<double> out);

void ScoreRow(const GateConfig& config, std::span<const double> logits, std::span<double> score);

}  // namespace folkmoot
