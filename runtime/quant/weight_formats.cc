// SPDX-License-Identifier: Apache-2.0
// The list of weight formats that a config.json can name.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

struct Entry {
  std::string_view method;
  absl::StatusOr<WeightFormatPtr> (*make)(const ConfigReader&);
};

constexpr std::array<Entry, 7> kFormats = {{{"awq", MakeAwq},
                                            {"compressed-tensors", MakeCompressedTensors},
                                            {"fp8", MakeFp8Block},
                                            {"gptq", MakeGptq},
                                            {"modelopt", MakeModelOpt},
                                            {"mxfp4", MakeMxfp4},
                                            {"mxfp8", MakeMxfp8}}};

}  // namespace

absl::Status CheckKnownKeys(const ConfigReader& keys,
                            std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : keys.object().items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    if (value.is_null() || value == false || (value.is_structured() && value.empty())) continue;
    return keys.Wrong(key,
                      "the format has no such key; remove it if it is known to change nothing");
  }
  return absl::OkStatus();
}

absl::Status CheckChoice(const ConfigReader& keys, std::string_view key,
                         std::initializer_list<std::string_view> known, std::string_view remedy) {
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> value, keys.OptionalString(key));
  if (!value || std::find(known.begin(), known.end(), *value) != known.end()) {
    return absl::OkStatus();
  }
  return keys.Wrong(key, fmt::format("known: {}{}", fmt::join(known, ", "), remedy));
}

absl::StatusOr<std::shared_ptr<const WeightFormat>> MakeWeightFormat(const nlohmann::json& config,
                                                                     std::string_view where) {
  const ConfigReader keys(config, std::string(where));
  FM_ASSIGN_OR_RETURN(const auto method, keys.OptionalString("quant_method"));
  std::vector<std::string_view> known;
  for (const Entry& entry : kFormats) {
    if (method && *method == entry.method) return entry.make(keys);
    known.push_back(entry.method);
  }
  return keys.Wrong("quant_method", fmt::format("known: {}", fmt::join(known, ", ")));
}

}  // namespace folkmoot
