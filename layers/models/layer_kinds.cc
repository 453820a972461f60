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

}  // namespace folkmoot
