// SPDX-License-Identifier: Apache-2.0
// Picks tokens on the device, for the requests whose sampling needs no history: greedy, or
// temperature with top-k, top-p and min-p. The rules and the order are those of runtime/sampler.h;
// the draw is the same counter-based number. Requests that need more (penalties, masks, biases,
// log-probabilities of many tokens) are sampled on the host from copied logits.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// One row of logits to sample from.
struct SampleRow {
  float temperature = 0;  // 0: greedy
  float top_p = 1;
  float min_p = 0;
  int32_t top_k = 0;  // 0: all
  uint64_t seed = 0;
  int64_t position = 0;  // that the token will have
};

struct SampledToken {
  int32_t token = -1;
  float logprob = 0;  // of the model, before any filter
  float top_logit = 0;
  uint8_t finite = 0;  // 0: the row has a NaN or an infinity, and no token
};

// logits float32 [count, V], V at most 2^20; rows and out lie on the device. The token is the one
// that runtime/sampler.h gives for these logits; only where a cut by top_p falls on a double's last
// bit, among tokens that weigh less than 2^-29 of those before them, could it differ. What lies in
// the scratch before does not matter.
void SampleRows(Stream& stream, const MatrixRef& logits, const SampleRow* rows, int count,
                void* scratch, SampledToken* out);
int64_t SampleScratchBytes(int64_t vocab, int count);

}  // namespace folkmoot::cuda
