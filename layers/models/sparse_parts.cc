// SPDX-License-Identifier: Apache-2.0
#include "layers/models/sparse_parts.h"

namespace folkmoot {

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
  if (config.latent.q_rank == 0) {
    return keys.Wrong("q_lora_rank", "the indexer's queries are made from the latent of queries");
  }
  for (LayerConfig& layer : config.layers) layer.indexer = true;
  return absl::OkStatus();
}

absl::Status ReadSparseLayerTypes(const ConfigReader& keys, const ModelConfig& config) {
  constexpr const char* kLayerTypes = "layer_types";
  constexpr const char* kSparse = "deepseek_sparse_attention";
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kLayerTypes));
  if (keys.HasValue(kLayerTypes) && types.size() != config.layers.size()) {
    return keys.WrongLength(kLayerTypes, config.layers.size());
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == kSparse) continue;
    return keys.Wrong(kLayerTypes,
                      fmt::format("entry {} is '{}'; known: {}", i, types[i], kSparse));
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

}  // namespace folkmoot
