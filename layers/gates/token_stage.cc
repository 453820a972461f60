// SPDX-License-Identifier: Apache-2.0
// DecideToken is the main function; the order of its calls is the order of the stages.
#include "layers/gates/token_stage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "layers/gates/scores.h"
#include "layers/gates/selection.h"
#include "runtime/exact_math.h"

namespace folkmoot {
namespace {

struct Row {
  std::span<double> logits, score, key;  // [E]
  std::span<const double> sinks;         // [S] scores of shared experts
  std::span<int32_t> expert;             // [K]
  std::span<double> raw, normed;         // [K]
};

DrawKey WithPurpose(DrawKey key, DrawPurpose purpose) {
  key.purpose = purpose;
  return key;
}

// Redraws the second expert from the softmax without the first (DeepSpeed, fairseq).
void SampleSecond(const TokenInput& input, Row& row) {
  const DrawKey key = WithPurpose(input.draws, DrawPurpose::kGumbel);
  double best = -std::numeric_limits<double>::infinity();
  for (size_t e = 0; e < row.logits.size(); ++e) {
    if (static_cast<int32_t>(e) == row.expert[0]) continue;
    const auto u = static_cast<double>(DrawUniform(key, static_cast<uint32_t>(e)));
    const double noisy = row.logits[e] + exact::Gumbel(u);
    if (noisy > best) {
      best = noisy;
      row.expert[1] = static_cast<int32_t>(e);
    }
  }
}

void Select(const GateConfig& config, const TokenInput& input, Workspace& workspace, Row& row) {
  SelectionKey(config, row.logits, row.score, input.selection_bias, workspace, row.key);
  if (input.forced.empty()) {
    TopIndices(row.key, row.expert);
  } else {
    std::copy(input.forced.begin(), input.forced.end(), row.expert.begin());
  }
  if (config.extra_policy == ExtraPolicy::kSample) SampleSecond(input, row);
}

// The weight of `slot` by SparseMixer (Liu et al. 2024, GRIN, as Phi-3.5-MoE has it at inference).
double MixerWeight(const GateConfig& config, const Row& row, size_t slot) {
  const auto taken = row.expert.first(slot);
  const double own = row.logits[static_cast<size_t>(row.expert[slot])];
  double sum = 0.0;
  for (size_t e = 0; e < row.logits.size(); ++e) {
    if (std::find(taken.begin(), taken.end(), static_cast<int32_t>(e)) != taken.end()) continue;
    const double logit = row.logits[e];
    const double distance = (own - logit) / std::max(std::abs(logit), own);
    if (distance > 2.0 * config.mixer_eps) continue;  // 0 / 0 is near
    sum += exact::Exp(logit - own);
  }
  return 1.0 / sum;  // exp(own - own) / sum
}

void Weigh(const GateConfig& config, Row& row) {
  const bool reweigh = config.weight_from == WeightFrom::kSoftmaxSelected;
  const auto& from = reweigh ? row.logits : row.score;
  for (size_t j = 0; j < row.raw.size(); ++j) {
    row.raw[j] = config.weight_from == WeightFrom::kSparseMixer
                     ? MixerWeight(config, row, j)
                     : from[static_cast<size_t>(row.expert[j])];
  }
  if (reweigh) SoftmaxRow(row.raw, row.raw);
  double sum = 0.0;
  for (const double weight : row.raw) sum += weight;
  for (const double sink : row.sinks) sum += sink;
  const double divisor = NormDivisor(config, sum);
  for (size_t j = 0; j < row.raw.size(); ++j) {
    row.normed[j] = divisor > 0 ? row.raw[j] / divisor : 0.0;
  }
}

bool WantsSlot(const GateConfig& config, const TokenInput& input, const Row& row, size_t slot) {
  const double gate =
      config.extra_gate == ExtraGate::kNormalized ? row.normed[slot] : row.raw[slot];
  switch (config.extra_policy) {
    case ExtraPolicy::kAll:
    case ExtraPolicy::kSample:
      return true;
    case ExtraPolicy::kNone:
      return false;
    case ExtraPolicy::kThreshold:
      return gate > config.extra_threshold;
    case ExtraPolicy::kRandom:
      break;
  }
  double u = 0.0;
  if (input.uniforms.empty()) {
    u = static_cast<double>(DrawUniform(WithPurpose(input.draws, DrawPurpose::kExtraExpert),
                                        static_cast<uint32_t>(slot)));
  } else {
    u = static_cast<double>(input.uniforms[std::min(slot, input.uniforms.size()) - 1]);
  }
  return u * config.extra_threshold < gate;
}

double Urgency(const GateConfig& config, const TokenInput& input, const Row& row, size_t slot) {
  if (config.priority == Priority::kBatchPrioritized) {
    return *std::max_element(row.score.begin(), row.score.end());
  }
  if (config.priority == Priority::kRandom) {
    return static_cast<double>(DrawUniform(WithPurpose(input.draws, DrawPurpose::kDropOrder),
                                           static_cast<uint32_t>(row.expert[slot])));
  }
  return config.normalize == Normalize::kBeforeDrop ? row.normed[slot] : row.raw[slot];
}

}  // namespace

double NormDivisor(const GateConfig& config, double sum) {
  return config.norm_eps_mode == NormEpsMode::kAdd ? sum + config.norm_eps
                                                   : std::max(sum, config.norm_eps);
}

void DecideToken(const GateConfig& config, const TokenInput& input, int64_t token,
                 Workspace& workspace, Decisions& out) {
  const Workspace::Position mark = workspace.Mark();
  const auto experts = static_cast<size_t>(config.num_experts);
  const auto k = static_cast<size_t>(config.top_k);
  const size_t first_expert = static_cast<size_t>(token) * experts;
  const size_t first_choice = static_cast<size_t>(token) * k;

  Row row;
  const auto logits = workspace.Get<double>(config.outputs());
  const auto score = workspace.Get<double>(config.outputs());
  row.logits = logits.first(experts);
  row.score = score.first(experts);
  row.sinks = out.SinksOf(config, token);
  row.key = Reroutes(config) ? out.key.subspan(first_expert, experts)
                             : workspace.Get<double>(config.num_experts);
  row.expert = out.expert.subspan(first_choice, k);
  row.raw = out.raw.subspan(first_choice, k);
  row.normed = workspace.Get<double>(config.top_k);

  RouterLogits(config, input.logits.first(experts), input.router_bias, row.logits);
  RouterLogits(config, input.logits.subspan(experts), {}, logits.subspan(experts));
  ScoreRow(config, logits, score);
  std::copy(score.begin() + config.num_experts, score.end(), out.SinksOf(config, token).begin());
  if (Reroutes(config)) {
    std::copy(row.score.begin(), row.score.end(), out.score.begin() + token * config.num_experts);
  }
  Select(config, input, workspace, row);
  Weigh(config, row);
  for (size_t j = 0; j < k; ++j) {
    Claim& claim = out.claim[first_choice + j];
    claim = !input.valid                                 ? Claim::kPadding
            : j == 0 || WantsSlot(config, input, row, j) ? Claim::kWanted
                                                         : Claim::kRejected;
    if (!out.urgency.empty()) out.urgency[first_choice + j] = Urgency(config, input, row, j);
  }
  workspace.Release(mark);
}

}  // namespace folkmoot
