// SPDX-License-Identifier: Apache-2.0
// Sample is the main function. Filters never sort the vocabulary: tokens are counted into buckets
// of similar weight, and only the bucket in which the cut falls is sorted.
#include "runtime/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/check.h"
#include "runtime/ops/norm.h"
#include "runtime/random.h"

namespace folkmoot {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

constexpr size_t kBuckets = 1024;
constexpr float kLeast = 0x1p-32f;  // smaller weights share a bucket: they hardly ever matter

// The sum in double, by index mod 4.
double Sum(std::span<const float> values) {
  double lanes[4] = {};
  size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) lanes[lane] += static_cast<double>(values[i + lane]);
  }
  for (; i < values.size(); ++i) lanes[i % 4] += static_cast<double>(values[i]);
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

}  // namespace

std::optional<int32_t> Sampler::Sample(const SampleInput& input) {
  FM_CHECK(!input.logits.empty());
  const SamplingParams& params = input.params;
  const std::span<const float> logits = Adjusted(input);
  const auto best = static_cast<int32_t>(ArgMax(logits));
  const float top = logits[static_cast<size_t>(best)];
  if (!std::isfinite(top)) return std::nullopt;
  if (!(params.temperature > 0.0f)) return best;

  weights_.resize(logits.size());
  SoftmaxWeights(logits, top, params.temperature, weights_);
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < weights_.size()) {
    KeepBest(params.top_k);
  }
  if (params.top_p < 1.0f) KeepMass(static_cast<double>(params.top_p));
  if (params.min_p > 0.0f) {
    for (float& weight : weights_) weight = weight < params.min_p ? 0.0f : weight;
    weights_[static_cast<size_t>(best)] = 1.0f;
  }
  return Draw(params, input.position);
}

// The logits after masks, bias and penalties; the given ones when there are none.
std::span<const float> Sampler::Adjusted(const SampleInput& input) {
  const SamplingParams& params = input.params;
  const bool too_short = input.position - input.prompt_length < params.min_tokens;
  if (input.allowed.empty() && params.allowed_ids.empty() && params.logit_bias.empty() &&
      !params.NeedsHistory() && !(too_short && !params.suppressed_ids.empty())) {
    return input.logits;
  }
  logits_.assign(input.logits.begin(), input.logits.end());
  Forbid(input);
  const auto vocab = static_cast<int64_t>(logits_.size());
  if (too_short) ForbidEnd(input);
  for (const auto& [id, bias] : params.logit_bias) {
    if (id >= 0 && id < vocab) logits_[static_cast<size_t>(id)] += bias;
  }
  Penalize(input);
  return logits_;
}

void Sampler::Forbid(const SampleInput& input) {
  if (!input.allowed.empty()) {
    FM_CHECK(input.allowed.size() == (logits_.size() + 31) / 32);
    for (size_t word = 0; word < input.allowed.size(); ++word) {
      const uint32_t bits = input.allowed[word];
      if (bits == ~uint32_t{0}) continue;
      const size_t end = std::min(logits_.size(), word * 32 + 32);
      for (size_t t = word * 32; t < end; ++t) {
        if ((bits >> (t % 32) & 1u) == 0) logits_[t] = kNever;
      }
    }
  }
  if (!input.params.allowed_ids.empty()) {
    weights_.assign(logits_.size(), kNever);  // free until Sample fills it
    for (const int32_t id : input.params.allowed_ids) {
      const auto at = static_cast<size_t>(id);
      if (id >= 0 && at < logits_.size()) weights_[at] = logits_[at];
    }
    logits_.swap(weights_);
  }
  ForbidBadWords(input);
}

void Sampler::ForbidEnd(const SampleInput& input) {
  const std::vector<int32_t>& ids = input.params.suppressed_ids;
  const auto goes_on = [&](size_t t) {
    return logits_[t] > kNever &&
           std::find(ids.begin(), ids.end(), static_cast<int32_t>(t)) == ids.end();
  };
  if (!input.allowed.empty()) {  // the form decides
    size_t t = 0;
    while (t < logits_.size() && !goes_on(t)) ++t;
    if (t == logits_.size()) return;
  }
  for (const int32_t id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < logits_.size()) {
      logits_[static_cast<size_t>(id)] = kNever;
    }
  }
}

// The last token of a word may not come when the output ends in the ones before it.
void Sampler::ForbidBadWords(const SampleInput& input) {
  for (const std::vector<int32_t>& word : input.params.bad_words) {
    if (word.empty()) continue;
    const std::span<const int32_t> output = input.history->output();
    const size_t before = word.size() - 1;
    if (before > output.size()) continue;
    if (!std::equal(word.begin(), word.end() - 1, output.end() - static_cast<ptrdiff_t>(before))) {
      continue;
    }
    const auto last = static_cast<size_t>(word.back());
    if (word.back() >= 0 && last < logits_.size()) logits_[last] = kNever;
  }
}

void Sampler::Penalize(const SampleInput& input) {
  const SamplingParams& params = input.params;
  const float repetition = params.repetition_penalty;
  const float frequency = params.frequency_penalty;
  const float presence = params.presence_penalty;
  if (repetition == 1 && frequency == 0 && presence == 0) return;
  for (const TokenHistory::Entry& entry : input.history->entries()) {
    const auto at = static_cast<size_t>(entry.token);
    if (at >= logits_.size()) continue;
    float& logit = logits_[at];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (entry.written == 0) continue;
    logit -= frequency * static_cast<float>(entry.written);
    logit -= presence;
  }
}

// Buckets divide the range from the least weight to 1 by the bits of the numbers, which grow with
// them, so that flat distributions are divided as finely as steep ones.
void Sampler::ScaleBuckets() {
  float least = 1.0f;
  for (const float weight : weights_) least = weight > 0 && weight < least ? weight : least;
  least_bits_ = std::bit_cast<uint32_t>(std::max(least, kLeast));
  const uint32_t range = std::bit_cast<uint32_t>(1.0f) - least_bits_;
  shift_ = std::max(
      0, static_cast<int>(std::bit_width(range)) - static_cast<int>(std::bit_width(kBuckets - 1)));
}

size_t Sampler::BucketOf(float weight) const {
  const uint32_t bits = std::bit_cast<uint32_t>(weight);
  return bits <= least_bits_ ? 0 : std::min<size_t>((bits - least_bits_) >> shift_, kBuckets - 1);
}

// Fills bucket_ with the weights of one bucket, best first; those that are 0 count as filtered.
void Sampler::SortBucket(size_t bucket) {
  bucket_.clear();
  for (size_t t = 0; t < weights_.size(); ++t) {
    if (weights_[t] > 0 && BucketOf(weights_[t]) == bucket) {
      bucket_.push_back({weights_[t], static_cast<int32_t>(t)});
    }
  }
  std::sort(bucket_.begin(), bucket_.end(), [](const Cut& a, const Cut& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  });
}

// Weights 0 for all tokens after the cut.
void Sampler::KeepUpTo(const Cut& cut) {
  const auto middle = weights_.begin() + cut.token + 1;
  std::transform(weights_.begin(), middle, weights_.begin(),
                 [&](float weight) { return weight >= cut.weight ? weight : 0.0f; });
  std::transform(middle, weights_.end(), middle,
                 [&](float weight) { return weight > cut.weight ? weight : 0.0f; });
}

// Exactly `count` tokens, or all that weigh anything when they are fewer.
void Sampler::KeepBest(int64_t count) {
  constexpr int64_t kFew = 256;  // a heap of so many is cheaper than buckets
  if (count <= kFew) {
    best_.resize(static_cast<size_t>(count));
    TopK(weights_, best_);
    KeepUpTo({weights_[static_cast<size_t>(best_.back())], best_.back()});
    return;
  }
  ScaleBuckets();
  counts_.assign(kBuckets, 0);
  for (const float weight : weights_) {
    if (weight > 0) ++counts_[BucketOf(weight)];
  }
  for (size_t bucket = kBuckets; bucket-- > 0;) {
    if (counts_[bucket] < count) {
      count -= counts_[bucket];
      continue;
    }
    SortBucket(bucket);
    KeepUpTo(bucket_[static_cast<size_t>(count - 1)]);
    return;
  }
}

// The shortest run of the best tokens whose weight reaches `share` of all.
void Sampler::KeepMass(double share) {
  ScaleBuckets();
  masses_.assign(kBuckets, 0.0);
  for (const float weight : weights_) {
    if (weight > 0) masses_[BucketOf(weight)] += static_cast<double>(weight);
  }
  double total = 0;
  for (size_t bucket = kBuckets; bucket-- > 0;) total += masses_[bucket];
  const double wanted = share * total;
  double mass = 0;
  for (size_t bucket = kBuckets; bucket-- > 0;) {
    if (masses_[bucket] == 0) continue;
    if (mass + masses_[bucket] < wanted) {
      mass += masses_[bucket];
      continue;
    }
    SortBucket(bucket);
    size_t last = 0;
    for (mass += static_cast<double>(bucket_[0].weight);
         mass < wanted && last + 1 < bucket_.size();) {
      mass += static_cast<double>(bucket_[++last].weight);
    }
    KeepUpTo(bucket_[last]);
    return;
  }
}

// The token at which the running sum of weights, by id, passes a random share of all. Sums of runs
// of tokens first, so that only one run is walked token by token.
int32_t Sampler::Draw(const SamplingParams& params, int64_t position) {
  constexpr size_t kRun = 256;
  const std::span<const float> weights = weights_;
  masses_.clear();
  double total = 0;
  size_t last_run = 0;  // that weighs anything
  for (size_t begin = 0; begin < weights.size(); begin += kRun) {
    masses_.push_back(Sum(weights.subspan(begin, std::min(kRun, weights.size() - begin))));
    total += masses_.back();
    if (masses_.back() > 0) last_run = masses_.size() - 1;
  }
  const DrawKey key = {.seed = params.seed,
                       .position = static_cast<uint32_t>(position),
                       .purpose = DrawPurpose::kSample};
  double remaining = static_cast<double>(DrawUniform(key, 0)) * total;
  size_t run = 0;
  while (run < last_run && remaining >= masses_[run]) remaining -= masses_[run++];
  int32_t token = 0;
  const size_t end = std::min(weights.size(), (run + 1) * kRun);
  for (size_t t = run * kRun; t < end; ++t) {  // rounding may leave a rest: then the last is it
    if (weights[t] == 0) continue;
    token = static_cast<int32_t>(t);
    remaining -= static_cast<double>(weights[t]);
    if (remaining < 0) break;
  }
  return token;
}

float Sampler::Logprob(std::span<const float> logits, double log_sum_exp, int32_t token) {
  return static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token)]) - log_sum_exp);
}

int32_t Sampler::Rank(std::span<const float> logits, int32_t token) {
  const float mine = logits[static_cast<size_t>(token)];
  int32_t greater = 0;
  for (const float logit : logits) greater += logit > mine ? 1 : 0;
  return greater + 1;
}

void Sampler::TopLogprobs(std::span<const float> logits, double log_sum_exp, int32_t count,
                          std::vector<TokenLogprob>* out) {
  best_.resize(std::min(static_cast<size_t>(count), logits.size()));
  TopK(logits, best_);
  for (const int32_t token : best_) out->push_back({token, Logprob(logits, log_sum_exp, token)});
}

}  // namespace folkmoot
