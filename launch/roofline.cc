// SPDX-License-Identifier: Apache-2.0
#include "launch/roofline.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/models/family.h"
#include "layers/models/tensor_list.h"

namespace folkmoot {
namespace {

// Multiply-adds of one token's scores and sums in a layer of compressed attention.
double CompressedScores(const ModelConfig& config, const LayerConfig& layer, double attended) {
  const IndexerConfig& indexer = config.compressed.indexer;
  double seen = std::min(attended, static_cast<double>(layer.sliding_window));
  double indexed = 0;
  if (layer.compression > 0) {
    double entries = attended / static_cast<double>(layer.compression);
    if (layer.overlapping && entries > static_cast<double>(indexer.top_k)) {
      indexed = static_cast<double>(indexer.heads * indexer.head_dim) * entries;
      entries = static_cast<double>(indexer.top_k);
    }
    seen += entries;
  }
  return static_cast<double>(2 * config.heads * config.head_dim) * seen + indexed;
}

// `tokens` tokens that attend to `attended` positions on average, or choose among them.
StepCost CostOfStep(const ModelConfig& config, const StepWeights& weights, int64_t tokens,
                    double attended, int64_t logit_rows) {
  const auto t = static_cast<double>(tokens);
  const double head = static_cast<double>(config.vocab) * static_cast<double>(config.hidden);
  const IndexerConfig& indexer = config.indexer;
  double seen = attended;  // where attention is sparse
  if (indexer.top_k > 0) seen = std::min(seen, static_cast<double>(indexer.most()));
  const auto tokens_of_key = static_cast<double>(std::max<int64_t>(indexer.pool, 1));
  const double indexed =
      attended > seen ? static_cast<double>(config.indexers() * indexer.heads * indexer.head_dim) *
                            attended / tokens_of_key
                      : 0;
  double scored = 0;  // numbers of all heads that look back, of their keys and of their values
  const Family* const family = FindFamily(config.architecture);
  const bool gated = family == nullptr || !NamesOf(*family, "").moe.experts.up.empty();
  const int64_t matrices = gated ? 3 : 2;
  const double expert =
      static_cast<double>(matrices * config.expert_width() * config.moe.intermediate);
  const auto experts = static_cast<double>(config.moe.experts);
  double compressed = 0;
  double read = weights.dense;
  double used = (weights.dense - head) * t + head * static_cast<double>(logit_rows);
  for (const LayerConfig& layer : config.layers) {
    if (layer.mixer == Mixer::kAttention) {
      const bool sparse = layer.indexer || indexer.block == 0;  // which shares choices
      scored += static_cast<double>(config.heads_of(layer) *
                                    (config.cache_key_dim(layer) + config.cache_value_dim(layer))) *
                (sparse ? seen : attended);
    }
    if (layer.mixer == Mixer::kCompressed) compressed += CompressedScores(config, layer, attended);
    if (!layer.moe) continue;
    const double share =
        static_cast<double>(config.top_k(layer)) / static_cast<double>(config.moe.outputs());
    read += expert * experts * (1 - std::pow(1 - share, t));
    used += expert * experts * share * t;
  }
  return {.bytes = read * weights.bytes_per_weight,
          .flops = 2 * used,
          .score_flops = 2 * t * (scored + indexed + compressed)};
}

}  // namespace

absl::StatusOr<double> DenseWeights(const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const std::vector<ListedTensor> tensors, ListTensors(config, nullptr));
  double weights = 0;
  for (const ListedTensor& tensor : tensors) {
    const bool dense = tensor.matrix && tensor.expert == ListedTensor::kNoExpert;
    if (dense) weights += static_cast<double>(tensor.values);
  }
  return weights;
}

StepCost CostOfPrefill(const ModelConfig& config, const StepWeights& weights, int64_t tokens) {
  return CostOfStep(config, weights, tokens, static_cast<double>(tokens + 1) / 2, 1);
}

StepCost CostOfDecode(const ModelConfig& config, const StepWeights& weights,
                      const SequenceBytes& kept, int64_t batch, int64_t context) {
  StepCost cost = CostOfStep(config, weights, batch, static_cast<double>(context + 1), batch);
  cost.bytes += static_cast<double>(batch * (context * kept.per_token + 2 * kept.state));
  return cost;
}

double BestSeconds(const StepCost& cost, const MachineRates& rates) {
  return std::max(cost.bytes / rates.bytes,
                  cost.flops / rates.operations + cost.score_flops / rates.flops);
}

}  // namespace folkmoot
