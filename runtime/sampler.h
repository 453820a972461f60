// SPDX-License-Identifier: Apache-2.0
// Picks the next token from a row of logits, and reads log-probabilities from it.
//
// Log-probabilities are those of the model, before anything below (vLLM's raw_logprobs). Then, in
// vLLM's order:
//   1. what may not come: the mask of a structured output, allowed_ids, bad_words, end tokens
//      before min_tokens. A form that is complete ends whatever min_tokens says: where the mask
//      leaves end tokens alone, they may come
//   2. logit_bias
//   3. penalties: repetition (prompt and output; a positive logit is divided by it, another is
//      multiplied), then frequency * count and presence of the output (vLLM, Transformers)
//   4. greedy: the greatest logit. Else temperature, top-k, top-p, min-p, in the order of
//      Transformers, and a draw.
// All ties go to the lower id. The draw is one counter-based random number keyed by (seed,
// position); it walks over the remaining tokens in the order of their ids. So the same request
// gives the same text whatever else runs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/sampling_params.h"
#include "runtime/token_history.h"

namespace folkmoot {

struct SampleInput {
  std::span<const float> logits;  // [V] finite
  const SamplingParams& params;   // ids outside the vocabulary are passed over
  int64_t position = 0;           // that the token will have in its sequence
  int64_t prompt_length = 0;
  const TokenHistory* history = nullptr;   // not null when params.NeedsHistory()
  std::span<const uint32_t> allowed = {};  // bit t % 32 of word t / 32: t may come; empty: all may
};

// Reuses its memory; one per thread.
class Sampler {
 public:
  // nullopt: no token may come, or a bias or penalty has left no number to compare.
  std::optional<int32_t> Sample(const SampleInput& input);

  // [V] What the last draw chose from, in proportion: 0 for filtered tokens, 1 for the best.
  std::span<const float> weights() const { return weights_; }

  // The natural logarithm of the model's probability of `token`, before any filter.
  static float Logprob(std::span<const float> logits, double log_sum_exp, int32_t token);
  // 1 + how many tokens have a greater logit: 1 for the best.
  static int32_t Rank(std::span<const float> logits, int32_t token);
  // The `count` best, descending, ties to the lower id, appended to `out`.
  void TopLogprobs(std::span<const float> logits, double log_sum_exp, int32_t count,
                   std::vector<TokenLogprob>* out);

 private:
  // The last of the kept tokens in the order of (weight descending, id ascending).
  struct Cut {
    float weight = 0;
    int32_t token = 0;
  };

  std::span<const float> Adjusted(const SampleInput& input);
  void Forbid(const SampleInput& input);
  void ForbidEnd(const SampleInput& input);
  void ForbidBadWords(const SampleInput& input);
  void Penalize(const SampleInput& input);
  void KeepBest(int64_t count);
  void KeepMass(double share);
  void KeepUpTo(const Cut& cut);
  void ScaleBuckets();
  size_t BucketOf(float weight) const;
  void SortBucket(size_t bucket);
  int32_t Draw(const SamplingParams& params, int64_t position);

  std::vector<float> logits_;   // a copy that may be changed
  std::vector<float> weights_;  // [V] unnormalised probabilities, the greatest is 1; 0: filtered
  std::vector<double> masses_;  // by bucket of weights, or by run of tokens
  std::vector<int64_t> counts_;
  std::vector<Cut> bucket_;
  uint32_t least_bits_ = 0;  // where the buckets begin
  int shift_ = 0;            // how wide they are
  std::vector<int32_t> best_;
};

}  // namespace folkmoot
