// SPDX-License-Identifier: Apache-2.0
// Keys that say what each layer is, of families whose layers are of several kinds.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/model_config_json.h"
#include "runtime/ops/causal_convolution.h"

namespace folkmoot {

// For each of `layers` layers the place in `names` of its entry in the list `key`, which must be
// there.
absl::StatusOr<std::vector<size_t>> ReadLayerKinds(const ConfigReader& keys, std::string_view key,
                                                   std::span<const std::string_view> names,
                                                   size_t layers);

// A model needs pages for something: some layer must have attention; `key` is to blame.
absl::Status CheckAttends(const ConfigReader& keys, std::string_view key,
                          const ModelConfig& config);

// Rows that a causal convolution may see.
inline constexpr IntRange kKernelRows = {1, kMostConvolutionRows};

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

// Of layers with a window, where they have heads of their own: swa_num_attention_heads,
// swa_num_key_value_heads and swa_head_dim (Inkling).
struct WindowHeads {  // where keys are absent
  int64_t heads, kv_heads, head_dim;
};
absl::Status ReadWindowHeads(const ConfigReader& keys, const WindowHeads& absent,
                             ModelConfig& config);

}  // namespace folkmoot
