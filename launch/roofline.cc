// SPDX-License-Identifier: Apache-2.0
#include "launch/roofline.h"

#include <algorithm>
#include <cmath>

namespace folkmoot {
namespace {

// `tokens` tokens that attend to `attended` positions on average.
StepCost CostOfStep(const ModelConfig& config, double bytes_per_weight, int64_t tokens,
                    double attended, int64_t logit_rows) {
  const auto hidden = static_cast<double>(config.hidden);
  const auto t = static_cast<double>(tokens);
  const auto q_width = static_cast<double>(config.heads * config.head_dim);
  const auto kv_width = static_cast<double>(config.kv_heads * config.head_dim);
  const double attention = hidden * (2 * q_width + 2 * kv_width);
  const auto head = static_cast<double>(config.vocab) * hidden;
  double read = head;                                    // weights read
  double used = head * static_cast<double>(logit_rows);  // weights used, once per token
  double score_flops = 0;
  for (const LayerConfig& layer : config.layers) {
    read += attention;
    used += attention * t;
    score_flops += 4 * q_width * t * attended;
    if (!layer.moe) {
      const double dense = 3 * hidden * static_cast<double>(config.intermediate);
      read += dense;
      used += dense * t;
      continue;
    }
    const auto experts = static_cast<double>(config.moe.experts);
    const auto top_k = static_cast<double>(config.top_k(layer));
    const double expert = 3 * hidden * static_cast<double>(config.moe.intermediate);
    const double always =
        hidden * experts + 3 * hidden * static_cast<double>(config.moe.shared_intermediate);
    read += always + expert * experts * (1 - std::pow(1 - top_k / experts, t));
    used += (always + expert * top_k) * t;
  }
  return {.bytes = read * bytes_per_weight, .flops = 2 * used, .score_flops = score_flops};
}

}  // namespace

StepCost CostOfPrefill(const ModelConfig& config, double bytes_per_weight, int64_t tokens) {
  return CostOfStep(config, bytes_per_weight, tokens, static_cast<double>(tokens + 1) / 2, 1);
}

StepCost CostOfDecode(const ModelConfig& config, double bytes_per_weight,
                      int64_t cache_bytes_per_token, int64_t batch, int64_t context) {
  StepCost cost =
      CostOfStep(config, bytes_per_weight, batch, static_cast<double>(context + 1), batch);
  cost.bytes += static_cast<double>(batch * context * cache_bytes_per_token);
  return cost;
}

double BestSeconds(const StepCost& cost, const MachineRates& rates) {
  return std::max(cost.bytes / rates.bytes,
                  cost.flops / rates.operations + cost.score_flops / rates.flops);
}

}  // namespace folkmoot
