// SPDX-License-Identifier: Apache-2.0
// Picks tokens on the device, for the requests whose sampling needs no history: greedy, or
// temperature with top-k, top-p and min-p. The rules and the order are those of runtime/sampler.h;
// the draw is the same counter-based number. Requests that need more (penalties, masks, biases,
// log-probabilities of many tokens) are sampled on the host from copied logits.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"
#include "runtime/sampling_params.h"

namespace folkmoot::cuda {

// One row of logits to sample from.
using SampleRow = PlainSampling;

struct SampledToken {
  int32_t token = -1;
  float logprob = 0;  // of the model, before any filter
  float top_logit = 0;
  uint8_t finite = 0;  // 0: the row has a NaN or an infinity, and no token
};

constexpr int64_t kMaxSampledVocab = int64_t{1} << 20;

// logits float32 [count, V], V at most kMaxSampledVocab; rows and out lie on the device. The token
// is the one that runtime/sampler.h gives for these logits; only where a cut by top_p falls on a
// double's last bit, among tokens that weigh less than 2^-29 of those before them, could it differ.
// What lies in the scratch before does not matter.
void SampleRows(Stream& stream, const MatrixRef& logits, const SampleRow* rows, int count,
                void* scratch, SampledToken* out);
int64_t SampleScratchBytes(int64_t vocab, int count);

}  // namespace folkmoot::cuda
