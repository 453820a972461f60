// SPDX-License-Identifier: Apache-2.0
// Keys that say what each layer is, of families whose layers are of several kinds.
#pragma once

#include <functional>

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"

namespace folkmoot {

// Key layer_types, or, where it is absent, `slides` by index, says which layers have the window
// sliding_window (absent: `window`; 0: it must be there if any slides). Of ConfigFamily::window
// kOwn.
absl::Status ReadSlidingLayers(const ConfigReader& keys, int64_t window,
                               const std::function<bool(size_t)>& slides, ModelConfig& config);

// A list with one number per layer; empty: the key is absent or null.
absl::StatusOr<std::vector<int64_t>> ReadLayerInts(const ConfigReader& keys, std::string_view key,
                                                   IntRange range, const ModelConfig& config);

// Query heads of one layer, which must be a multiple of its heads of keys.
absl::Status SetHeads(const ConfigReader& keys, std::string_view key, int64_t heads,
                      const ModelConfig& config, LayerConfig& layer);

}  // namespace folkmoot
