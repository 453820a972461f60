// SPDX-License-Identifier: Apache-2.0
#include "layers/models/sparse_parts.h"

#include <algorithm>

namespace folkmoot {
namespace {

// "FSSF", or a list of the words that it is short for.
absl::StatusOr<std::vector<std::string>> PatternTypes(const ConfigReader& keys) {
  const bool letters = keys.HasValue(kIndexerPattern) && keys.Find(kIndexerPattern)->is_string();
  if (!letters) return keys.Strings(kIndexerPattern);
  FM_ASSIGN_OR_RETURN(const auto pattern, keys.OptionalString(kIndexerPattern));
  std::vector<std::string> types;
  for (const char letter : pattern.value_or("")) {
    types.push_back(letter == 'F' ? "full" : letter == 'S' ? "shared" : std::string(1, letter));
  }
  return types;
}

}  // namespace

absl::Status ReadIndexer(const ConfigReader& keys, int64_t heads, ModelConfig& config) {
  constexpr IntRange kRange = {1, 1 << 16};
  IndexerConfig& indexer = config.indexer;
  FM_ASSIGN_OR_RETURN(indexer.top_k, keys.Int("index_topk", 2048, {1, 1 << 24}));
  FM_ASSIGN_OR_RETURN(indexer.heads, keys.Int("index_n_heads", heads, kRange));
  FM_ASSIGN_OR_RETURN(indexer.head_dim, keys.Int("index_head_dim", 128, kRange));
  if (indexer.head_dim < config.latent.rope_dim) {
    return keys.Wrong("index_head_dim",
                      fmt::format("its {} qk_rope_head_dim = {} numbers turn",
                                  indexer.turns_last ? "last" : "first", config.latent.rope_dim));
  }
  if (config.latent.q_rank == 0 && !indexer.of_hidden) {
    return keys.Wrong("q_lora_rank", "the indexer's queries are made from the latent of queries");
  }
  for (LayerConfig& layer : config.layers) layer.indexer = true;
  return absl::OkStatus();
}

absl::Status ReadSparseLayerTypes(const ConfigReader& keys, const ModelConfig& config) {
  constexpr const char* kLayerTypes = "layer_types";
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kLayerTypes));
  if (keys.HasValue(kLayerTypes) && types.size() != config.layers.size()) {
    return keys.WrongLength(kLayerTypes, config.layers.size());
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == kIndexed || types[i] == kIndexedBefore) continue;
    return keys.Wrong(kLayerTypes, fmt::format("entry {} is '{}'; known: {}, {}", i, types[i],
                                               kIndexedBefore, kIndexed));
  }
  return absl::OkStatus();
}

absl::Status ApplyIndexerTypes(const ConfigReader& keys, const char* key,
                               const std::vector<std::string>& types, ModelConfig& config) {
  if (types.size() != config.layers.size()) return keys.WrongLength(key, config.layers.size());
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "full" && types[i] != "shared") {
      return keys.Wrong(key, fmt::format("entry {} is '{}'; known: full, shared", i, types[i]));
    }
    config.layers[i].indexer = types[i] == "full";
  }
  return absl::OkStatus();
}

absl::Status CheckFirstIndexer(const ConfigReader& keys, const char* key,
                               const ModelConfig& config) {
  if (config.layers.front().indexer) return absl::OkStatus();
  return keys.Wrong(key, "the first layer has none before it whose keys it could take over");
}

absl::StatusOr<const char*> ReadIndexerTypes(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kIndexerTypes));
  FM_ASSIGN_OR_RETURN(const auto pattern, PatternTypes(keys));
  FM_ASSIGN_OR_RETURN(const int64_t every, keys.Int(kIndexerEvery, 1, {0, 1 << 20}));
  FM_ASSIGN_OR_RETURN(const int64_t offset, keys.Int(kIndexerOffset, 2, {-(1 << 20), 1 << 20}));
  const char* rule = kIndexerEvery;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const int64_t behind = std::max<int64_t>(static_cast<int64_t>(i) - offset + 1, 0);
    config.layers[i].indexer = behind % std::max<int64_t>(every, 1) == 0;
  }
  if (keys.HasValue(kIndexerPattern)) {
    rule = kIndexerPattern;
    FM_RETURN_IF_ERROR(ApplyIndexerTypes(keys, kIndexerPattern, pattern, config));
  }
  if (keys.HasValue(kIndexerTypes)) {
    const std::vector<LayerConfig> ruled = config.layers;
    FM_RETURN_IF_ERROR(ApplyIndexerTypes(keys, kIndexerTypes, types, config));
    for (size_t i = 0; keys.HasValue(rule) && i < ruled.size(); ++i) {
      if (ruled[i].indexer == config.layers[i].indexer) continue;
      return keys.Wrong(rule, fmt::format("it contradicts {} at layer {}", kIndexerTypes, i));
    }
    rule = kIndexerTypes;
  }
  return rule;
}

}  // namespace folkmoot
