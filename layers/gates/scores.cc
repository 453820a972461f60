// SPDX-License-Identifier: Apache-2.0
#include "layers/gates/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "runtime/exact_math.h"

namespace folkmoot {
namespace {

// To the nearest bfloat16, ties to even. Finite values only.
float RoundToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return std::bit_cast<float>(rounded & 0xFFFF0000u);
}

}  // namespace

void RouterLogits(const GateConfig& config, std::span<const float> in, std::span<const float> bias,
                  std::span<double> out) {
  for (size_t e = 0; e < in.size(); ++e) {
    double value = in[e];
    if (!bias.empty()) value += static_cast<double>(bias[e]);
    if (config.router_dtype == RouterDtype::kBf16) {
      value = static_cast<double>(RoundToBf16(static_cast<float>(value)));
    }
    out[e] = value;
  }
}

void SoftmaxRow(std::span<const double> in, std::span<double> out) {
  const double largest = *std::max_element(in.begin(), in.end());
  double sum = 0.0;
  for (size_t i = 0; i < in.size(); ++i) sum += out[i] = exact::Exp(in[i] - largest);
  for (double& value : out) value /= sum;
}

void ScoreRow(const GateConfig& config, std::span<const double> logits, std::span<double> score) {
  switch (config.score_fn) {
    case ScoreFn::kSoftmax:
      SoftmaxRow(logits, score);
      return;
    case ScoreFn::kSigmoid:
      std::transform(logits.begin(), logits.end(), score.begin(), exact::Sigmoid);
      return;
    case ScoreFn::kSqrtSoftplus:
      std::transform(logits.begin(), logits.end(), score.begin(),
                     [](double x) { return std::sqrt(exact::Softplus(x)); });
      return;
    case ScoreFn::kLogits:
      std::copy(logits.begin(), logits.end(), score.begin());
      return;
  }
}

}  // namespace folkmoot
