// SPDX-License-Identifier: Apache-2.0
// What families have in common whose latent attention is sparse (layers/lightning_indexer.h):
// DeepSeek-V3.2, GLM-5, GLM-5.3-Flash, A.X-K2, Hunyuan 4, Mistral Large 4.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/config_family.h"

namespace folkmoot {

// Keys index_topk, index_n_heads (absent: `heads`) and index_head_dim; all layers choose keys.
// Behind config.latent, and behind IndexerConfig::turns_last and of_hidden where they are set.
absl::Status ReadIndexer(const ConfigReader& keys, int64_t heads, ModelConfig& config);

// What layer_types calls layers whose keys an indexer chooses, and called them before Transformers
// 5.24.
inline constexpr std::string_view kIndexed = "indexed_attention";
inline constexpr std::string_view kIndexedBefore = "deepseek_sparse_attention";

// Key layer_types, which may name layers with an indexer only.
absl::Status ReadSparseLayerTypes(const ConfigReader& keys, const ModelConfig& config);

// `types` of layers, by `key`: "full" ones choose keys, "shared" ones take over those of the layer
// before.
absl::Status ApplyIndexerTypes(const ConfigReader& keys, const char* key,
                               const std::vector<std::string>& types, ModelConfig& config);
// The first layer has none before it. `key` says that it chooses, or not.
absl::Status CheckFirstIndexer(const ConfigReader& keys, const char* key,
                               const ModelConfig& config);

// Who chooses keys in GLM's models.
inline constexpr const char* kIndexerTypes = "indexer_types";
inline constexpr const char* kIndexerPattern = "index_topk_pattern";
inline constexpr const char* kIndexerEvery = "index_topk_freq";
inline constexpr const char* kIndexerOffset = "index_skip_topk_offset";

// Reads these keys: indexer_types counts, then index_topk_pattern, then index_topk_freq with its
// offset; what counts and what other programs would read may not contradict each other. Returns the
// key that counts.
absl::StatusOr<const char*> ReadIndexerTypes(const ConfigReader& keys, ModelConfig& config);

}  // namespace folkmoot
