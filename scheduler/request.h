// SPDX-License-Identifier: Apache-2.0
// What a caller asks the engine for, and what it hears back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/sampler.h"

namespace folkmoot {

struct Request {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 16;  // 0: score the prompt only
  SamplingParams sampling;
  std::vector<int32_t> stop_ids;  // ends after one of these was sampled; it is part of the output
  bool prompt_logprobs = false;   // the log-probability of every prompt token but the first
  int32_t top_logprobs = 0;       // with prompt_logprobs: the best K per position
  bool trace_routing = false;     // every routing decision
  bool layer_digests = false;     // a hash of the residual stream after each layer
};

enum class FinishReason : uint8_t { kNone, kStop, kLength, kError };
const char* FinishReasonName(FinishReason reason);

}  // namespace folkmoot
