// SPDX-License-Identifier: Apache-2.0
#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>

#include "runtime/check.h"
#include "runtime/ops/norm.h"
#include "runtime/random.h"

namespace folkmoot {

int32_t Sampler::Sample(std::span<const float> logits, const SamplingParams& params,
                        int64_t position) {
  FM_CHECK(!logits.empty());
  const int64_t best = ArgMax(logits);
  if (params.temperature <= 0.0f) return static_cast<int32_t>(best);

  const double inverse = 1.0 / static_cast<double>(params.temperature);
  const double top = logits[static_cast<size_t>(best)];
  candidates_.clear();
  for (size_t v = 0; v < logits.size(); ++v) {
    candidates_.push_back(
        {static_cast<int32_t>(v), std::exp((static_cast<double>(logits[v]) - top) * inverse)});
  }
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + params.top_k, candidates_.end(),
                     better);
    candidates_.resize(static_cast<size_t>(params.top_k));
  }
  std::sort(candidates_.begin(), candidates_.end(), better);

  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  size_t kept = candidates_.size();
  if (params.top_p < 1.0f) {  // the shortest prefix whose mass reaches top_p
    double mass = 0;
    kept = 0;
    while (kept < candidates_.size() && mass < static_cast<double>(params.top_p) * total) {
      mass += candidates_[kept++].weight;
    }
    kept = std::max<size_t>(kept, 1);
  }
  while (kept > 1 &&
         candidates_[kept - 1].weight < static_cast<double>(params.min_p) * candidates_[0].weight) {
    --kept;
  }
  total = 0;
  for (size_t i = 0; i < kept; ++i) total += candidates_[i].weight;
  const DrawKey key = {.seed = params.seed,
                       .position = static_cast<uint32_t>(position),
                       .purpose = DrawPurpose::kSample};
  double remaining = static_cast<double>(DrawUniform(key, 0)) * total;
  for (size_t i = 0; i < kept; ++i) {
    remaining -= candidates_[i].weight;
    if (remaining < 0) return candidates_[i].token;
  }
  return candidates_[kept - 1].token;
}

float Sampler::Logprob(std::span<const float> logits, double log_sum_exp, int32_t token) {
  return static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token)]) - log_sum_exp);
}

void Sampler::TopLogprobs(std::span<const float> logits, double log_sum_exp, int32_t count,
                          std::vector<TokenLogprob>* out) {
  best_.resize(std::min(static_cast<size_t>(count), logits.size()));
  TopK(logits, best_);
  for (const int32_t token : best_) out->push_back({token, Logprob(logits, log_sum_exp, token)});
}

}  // namespace folkmoot
