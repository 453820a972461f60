// SPDX-License-Identifier: Apache-2.0
// Picks the next token from a row of logits, and reads log-probabilities from it.
//
// Filters run in the order of Hugging Face Transformers and vLLM: temperature, top-k, top-p, min-p.
// The draw is a counter-based random number keyed by (seed, position), so the same request gives
// the same text whatever else runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace folkmoot {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0 or -1: off
  float top_p = 1.0f;
  float min_p = 0.0f;  // keep tokens with p >= min_p * max p
  uint64_t seed = 0;
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

// Reuses its memory; one per thread.
class Sampler {
 public:
  // `logits` [V] finite. `position` is the position that the token will have in its sequence.
  int32_t Sample(std::span<const float> logits, const SamplingParams& params, int64_t position);

  // The natural logarithm of the model's probability of `token`, before any filter.
  static float Logprob(std::span<const float> logits, double log_sum_exp, int32_t token);
  // The `count` best, descending, ties to the lower id, appended to `out`.
  void TopLogprobs(std::span<const float> logits, double log_sum_exp, int32_t count,
                   std::vector<TokenLogprob>* out);

 private:
  struct Candidate {
    int32_t token;
    double weight;  // unnormalised probability
  };
  std::vector<Candidate> candidates_;
  std::vector<int32_t> best_;
};

}  // namespace folkmoot
