// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/modelopt_scheme.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

constexpr std::string_view kAlgorithmKey = "quant_algo";
constexpr std::string_view kMixed = "MIXED_PRECISION";
constexpr IntRange kGroupSizes = {1, 1 << 20};

struct Algorithm {
  std::string_view name;
  std::string_view description;
};
constexpr std::array<Algorithm, 7> kAlgorithms = {
    {{"FP8", "FP8, one scale per tensor"},
     {"FP8_PB_WO", "FP8 in blocks of 128 x 128"},
     {"FP8_PER_CHANNEL_PER_TOKEN", "FP8, one scale per row"},
     {kMixed, "FP4 and FP8, by module"},
     {"MXFP8", "MXFP8"},
     {"NVFP4", "NVFP4"},
     {"W4A16_NVFP4", "NVFP4"}}};

const Algorithm* FindAlgorithm(std::string_view name) {
  const auto found = std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                                  [name](const Algorithm& known) { return known.name == name; });
  return found == kAlgorithms.end() ? nullptr : &*found;
}

// In capitals: ModelOpt writes some in small letters. Empty: there is none.
absl::StatusOr<std::string> ReadAlgorithm(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(const auto written, keys.OptionalString(kAlgorithmKey));
  std::string name = written.value_or("");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (name.empty() || FindAlgorithm(name) != nullptr) return name;
  std::vector<std::string_view> known;
  for (const Algorithm& algorithm : kAlgorithms) known.push_back(algorithm.name);
  return keys.Wrong(kAlgorithmKey, fmt::format("known: {}", fmt::join(known, ", ")));
}

absl::Status CheckNotScaled(const ConfigReader& keys) {
  constexpr std::string_view kScaled = "pre_quant_scale";
  FM_ASSIGN_OR_RETURN(const bool scaled, keys.Bool(kScaled, false));
  if (!scaled) return absl::OkStatus();
  return keys.Wrong(kScaled, "weights that were scaled for their activations are not supported");
}

// What it says beside quant_algo is how other programs run the model; but for the size of groups.
absl::Status ReadConfigGroup(const ConfigReader& keys, ModelOptScheme* scheme) {
  constexpr std::string_view kWeights = "weights";
  FM_RETURN_IF_ERROR(CheckNotScaled(keys));
  FM_RETURN_IF_ERROR(CheckKnownKeys(keys, {kWeights, "targets", "input_activations"}));
  if (!keys.HasValue(kWeights) || !keys.Find(kWeights)->is_object()) {
    return keys.Wrong(kWeights, "it must be an object");
  }
  const ConfigReader weights(*keys.Find(kWeights), fmt::format("{}{}.", keys.prefix(), kWeights));
  FM_RETURN_IF_ERROR(
      CheckKnownKeys(weights, {"num_bits", "type", "dynamic", "strategy", "group_size"}));
  FM_RETURN_IF_ERROR(CheckChoice(weights, "type", {"float"}));
  FM_ASSIGN_OR_RETURN(const int64_t bits, weights.Int("num_bits", 8, {4, 8}));
  FM_ASSIGN_OR_RETURN(const auto group, weights.OptionalInt("group_size", kGroupSizes));
  if (bits == 4 && group) scheme->group_size = *group;
  return absl::OkStatus();
}

// The objects below `key`, each read by `read`.
template <typename Read>
absl::Status ForEachObject(const ConfigReader& keys, std::string_view key, const Read& read) {
  if (!keys.HasValue(key)) return absl::OkStatus();
  if (!keys.Find(key)->is_object()) return keys.Wrong(key, "it must be an object");
  for (const auto& [name, value] : keys.Find(key)->items()) {
    if (!value.is_object()) return keys.Wrong(key, fmt::format("'{}' must be an object", name));
    FM_RETURN_IF_ERROR(
        read(ConfigReader(value, fmt::format("{}{}.{}.", keys.prefix(), key, name))));
  }
  return absl::OkStatus();
}

// Of mixed precision: which module has which algorithm. What is stored says so, too.
absl::Status ReadLayer(const ConfigReader& keys, ModelOptScheme* scheme) {
  FM_RETURN_IF_ERROR(CheckNotScaled(keys));
  FM_RETURN_IF_ERROR(CheckKnownKeys(keys, {kAlgorithmKey, "group_size"}));
  FM_ASSIGN_OR_RETURN(const std::string algorithm, ReadAlgorithm(keys));
  FM_ASSIGN_OR_RETURN(const auto group, keys.OptionalInt("group_size", kGroupSizes));
  if (algorithm.empty() || algorithm == kMixed) {
    return keys.Wrong(kAlgorithmKey, "every module has one algorithm");
  }
  if (algorithm.ends_with("NVFP4") && group) scheme->group_size = *group;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<ModelOptScheme>> ReadScheme(const ConfigReader& keys) {
  constexpr std::string_view kLayers = "quantized_layers";
  FM_RETURN_IF_ERROR(CheckNotScaled(keys));
  FM_RETURN_IF_ERROR(CheckKnownKeys(
      keys, {"quant_method", "producer", kAlgorithmKey, "group_size", "config_groups", kLayers,
             "ignore", "exclude_modules", "kv_cache_quant_algo", "kv_cache_scheme"}));
  FM_RETURN_IF_ERROR(keys.Strings("ignore").status());
  FM_RETURN_IF_ERROR(keys.Strings("exclude_modules").status());
  ModelOptScheme scheme;
  FM_ASSIGN_OR_RETURN(scheme.algorithm, ReadAlgorithm(keys));
  if (scheme.algorithm.empty()) return std::nullopt;
  FM_RETURN_IF_ERROR(ForEachObject(keys, "config_groups", [&](const ConfigReader& group) {
    return ReadConfigGroup(group, &scheme);
  }));
  FM_RETURN_IF_ERROR(ForEachObject(
      keys, kLayers, [&](const ConfigReader& layer) { return ReadLayer(layer, &scheme); }));
  FM_ASSIGN_OR_RETURN(const auto group, keys.OptionalInt("group_size", kGroupSizes));
  if (scheme.algorithm.ends_with("NVFP4") && group) scheme.group_size = *group;
  return scheme;
}

}  // namespace

absl::StatusOr<std::optional<ModelOptScheme>> ReadModelOptScheme(const ConfigReader& keys) {
  constexpr std::string_view kInner = "quantization";
  if (!keys.HasValue(kInner)) return ReadScheme(keys);
  FM_RETURN_IF_ERROR(CheckKnownKeys(keys, {"quant_method", "producer", kInner}));
  if (!keys.Find(kInner)->is_object()) return keys.Wrong(kInner, "it must be an object");
  return ReadScheme(ConfigReader(*keys.Find(kInner), fmt::format("{}{}.", keys.prefix(), kInner)));
}

std::string Describe(const ModelOptScheme& scheme) {
  return std::string(FindAlgorithm(scheme.algorithm)->description);
}

}  // namespace folkmoot
