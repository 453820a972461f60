// SPDX-License-Identifier: Apache-2.0
#include "layers/models/layer_kinds.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>

namespace folkmoot {

absl::StatusOr<std::vector<size_t>> ReadLayerKinds(const ConfigReader& keys, std::string_view key,
                                                   std::span<const std::string_view> names,
                                                   size_t layers) {
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> types, keys.Strings(key));
  if (types.size() != layers) return keys.WrongLength(key, layers);
  std::vector<size_t> kinds;
  for (size_t i = 0; i < types.size(); ++i) {
    const auto found = std::find(names.begin(), names.end(), types[i]);
    if (found == names.end()) {
      return keys.Wrong(
          key, fmt::format("entry {} is '{}'; known: {}", i, types[i], fmt::join(names, ", ")));
    }
    kinds.push_back(static_cast<size_t>(found - names.begin()));
  }
  return kinds;
}

absl::Status CheckAttends(const ConfigReader& keys, std::string_view key,
                          const ModelConfig& config) {
  if (config.cache_layers() > 0) return absl::OkStatus();
  return keys.Wrong(key, "at least one layer must have full attention");
}

absl::Status ReadSlidingLayers(const ConfigReader& keys, int64_t window,
                               const std::function<bool(size_t)>& slides, ModelConfig& config) {
  constexpr const char* kTypes = "layer_types";
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kTypes));
  const bool given = keys.HasValue(kTypes);
  if (given && types.size() != config.layers.size()) {
    return keys.WrongLength(kTypes, config.layers.size());
  }
  FM_ASSIGN_OR_RETURN(const auto size, keys.OptionalInt("sliding_window", {0, INT32_MAX}));
  if (size || keys.Has("sliding_window")) window = size.value_or(0);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (given && types[i] != "full_attention" && types[i] != "sliding_attention") {
      return keys.Wrong(
          kTypes,
          fmt::format("entry {} is '{}'; known: full_attention, sliding_attention", i, types[i]));
    }
    if (given ? types[i] == "full_attention" : !slides(i)) continue;
    if (window < 1) {
      return keys.Wrong("sliding_window",
                        fmt::format("layer {} slides, so it must be at least 1", i));
    }
    config.layers[i].sliding_window = window;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> ReadLayerInts(const ConfigReader& keys, std::string_view key,
                                                   IntRange range, const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(std::vector<int64_t> list, keys.Ints(key, range));
  if (keys.HasValue(key) && list.size() != config.layers.size()) {
    return keys.WrongLength(key, config.layers.size());
  }
  return list;
}

absl::Status SetHeads(const ConfigReader& keys, std::string_view key, int64_t heads,
                      const ModelConfig& config, LayerConfig& layer) {
  const int64_t kv_heads = config.kv_heads_of(layer);
  if (heads % kv_heads != 0) {
    return keys.Wrong(key, fmt::format("{} query heads cannot share {} heads of keys and values; "
                                       "it must be a multiple",
                                       heads, kv_heads));
  }
  layer.heads = heads;
  return absl::OkStatus();
}

absl::Status ReadWindowHeads(const ConfigReader& keys, const WindowHeads& absent,
                             ModelConfig& config) {
  constexpr const char* kHeads = "swa_num_attention_heads";
  constexpr IntRange kSizes = {1, 1 << 16};
  FM_ASSIGN_OR_RETURN(const int64_t heads, keys.Int(kHeads, absent.heads, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t kv_heads,
                      keys.Int("swa_num_key_value_heads", absent.kv_heads, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t head_dim, keys.Int("swa_head_dim", absent.head_dim, kSizes));
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window == 0) continue;
    layer.kv_heads = kv_heads;
    layer.head_dim = head_dim;
    FM_RETURN_IF_ERROR(SetHeads(keys, kHeads, heads, config, layer));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
