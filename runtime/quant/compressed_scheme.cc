// SPDX-License-Identifier: Apache-2.0
#include "runtime/quant/compressed_scheme.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "runtime/quant/formats.h"

namespace folkmoot {
namespace {

using Layout = CompressedScheme::Layout;
using Strategy = CompressedScheme::Strategy;

constexpr std::string_view kFormats[] = {
    "pack-quantized",       "int-quantized",        "float-quantized", "naive-quantized",
    "mxfp4-pack-quantized", "nvfp4-pack-quantized", "mxfp8-quantized"};
constexpr IntRange kSizes = {-1, 1 << 20};
constexpr IntRange kBlocks = {1, 1 << 20};

// An object that says nothing, or nothing but a format that changes nothing.
absl::Status CheckNeutralObject(const ConfigReader& keys, std::string_view key,
                                std::string_view what) {
  if (!keys.HasValue(key)) return absl::OkStatus();
  const nlohmann::json& value = *keys.Find(key);
  if (!value.is_object()) return keys.Wrong(key, "it must be an object");
  const auto format = value.find("format");
  if (format != value.end() && *format == "dense") return absl::OkStatus();
  for (const auto& [name, entry] : value.items()) {
    if (entry.is_null() || (entry.is_structured() && entry.empty())) continue;
    return keys.Wrong(key, what);
  }
  return absl::OkStatus();
}

absl::Status ReadStrategy(const ConfigReader& keys, CompressedScheme* scheme) {
  FM_ASSIGN_OR_RETURN(const auto size, keys.OptionalInt("group_size", kSizes));
  FM_RETURN_IF_ERROR(
      CheckChoice(keys, "strategy", {"tensor", "channel", "group", "tensor_group", "block"}));
  nlohmann::json name = !size ? "tensor" : *size > 0 ? "group" : "channel";
  if (keys.HasValue("strategy")) name = *keys.Find("strategy");
  if (name == "tensor") {
    scheme->strategy = Strategy::kTensor;
  } else if (name == "channel") {
    scheme->strategy = Strategy::kChannel;
  } else if (name == "block") {
    scheme->strategy = Strategy::kBlock;
    FM_ASSIGN_OR_RETURN(const auto block, keys.Ints("block_structure", kBlocks));
    if (block.size() != 2) return keys.Wrong("block_structure", "it must be [rows, columns]");
    scheme->block_rows = block[0];
    scheme->block_columns = block[1];
  } else {
    scheme->strategy = Strategy::kGroup;
    if (!size || *size < 1) return keys.Wrong("group_size", "strategy group needs one above 0");
    scheme->group_size = *size;
  }
  return absl::OkStatus();
}

absl::Status CheckSmallFloats(const ConfigReader& keys, const CompressedScheme& scheme,
                              int64_t bits) {
  const int64_t group = scheme.global_scale ? 16 : 32;
  if (scheme.bits != bits) return keys.Wrong("num_bits", fmt::format("the format has {}", bits));
  if (!scheme.symmetric) return keys.Wrong("symmetric", "the format has no zero points");
  if (scheme.group_size != group) {
    return keys.Wrong("group_size", fmt::format("the format has groups of {}", group));
  }
  return absl::OkStatus();
}

absl::Status ReadWeights(const ConfigReader& keys, std::string_view format,
                         CompressedScheme* scheme) {
  FM_RETURN_IF_ERROR(CheckKnownKeys(
      keys, {"num_bits", "type", "symmetric", "strategy", "group_size", "block_structure",
             "dynamic", "actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"}));
  FM_ASSIGN_OR_RETURN(scheme->bits, keys.Int("num_bits", 8, kBlocks));
  FM_RETURN_IF_ERROR(CheckChoice(keys, "type", {"int", "float"}));
  const bool floats = keys.HasValue("type") && *keys.Find("type") == "float";
  FM_ASSIGN_OR_RETURN(scheme->symmetric, keys.Bool("symmetric", true));
  FM_ASSIGN_OR_RETURN(const bool dynamic, keys.Bool("dynamic", false));
  if (dynamic) return keys.Wrong("dynamic", "weights have scales of their own; it must be false");
  FM_RETURN_IF_ERROR(ReadStrategy(keys, scheme));

  const auto wants = [&](bool wanted) -> absl::Status {
    if (floats == wanted) return absl::OkStatus();
    return keys.Wrong("type",
                      fmt::format("format '{}' has '{}'", format, wanted ? "float" : "int"));
  };
  if (format == "pack-quantized") {
    FM_RETURN_IF_ERROR(wants(false));
    if (scheme->bits != 4 && scheme->bits != 8) return keys.Wrong("num_bits", "known: 4, 8");
    return absl::OkStatus();
  }
  if (format == "mxfp4-pack-quantized" || format == "nvfp4-pack-quantized") {
    FM_RETURN_IF_ERROR(wants(true));
    scheme->layout = Layout::kFp4;
    scheme->global_scale = format == "nvfp4-pack-quantized";
    return CheckSmallFloats(keys, *scheme, 4);
  }
  scheme->layout = Layout::kNaive;
  scheme->floats = floats;
  if (format == "mxfp8-quantized") {
    FM_RETURN_IF_ERROR(wants(true));
    scheme->exponents = true;
    return CheckSmallFloats(keys, *scheme, 8);
  }
  if (format == "int-quantized") FM_RETURN_IF_ERROR(wants(false));
  if (format == "float-quantized") FM_RETURN_IF_ERROR(wants(true));
  if (floats && scheme->bits != 8) return keys.Wrong("num_bits", "known: 8");
  if (!floats && (scheme->bits < 2 || scheme->bits > 8))
    return keys.Wrong("num_bits", "known: 2..8");
  if (floats && !scheme->symmetric) return keys.Wrong("symmetric", "FP8 has no zero points");
  return absl::OkStatus();
}

bool IsFormat(std::string_view format) {
  return std::find(std::begin(kFormats), std::end(kFormats), format) != std::end(kFormats);
}

absl::StatusOr<CompressedScheme> ReadGroup(const ConfigReader& keys, std::string_view where,
                                           std::string_view format) {
  FM_RETURN_IF_ERROR(CheckKnownKeys(keys, {"targets", "weights", "input_activations", "format"}));
  FM_RETURN_IF_ERROR(keys.Strings("targets").status());
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> own, keys.OptionalString("format"));
  const std::string used = own ? *own : std::string(format);
  if (!IsFormat(used)) {
    return keys.Wrong("format",
                      fmt::format("known, here or for all groups: {}", fmt::join(kFormats, ", ")));
  }
  if (!keys.HasValue("weights") || !keys.Find("weights")->is_object()) {
    return keys.Wrong("weights", "it must be an object");
  }
  const ConfigReader weights(*keys.Find("weights"), fmt::format("{}weights.", where));
  CompressedScheme scheme;
  FM_RETURN_IF_ERROR(ReadWeights(weights, used, &scheme));
  return scheme;
}

absl::Status CheckTop(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(CheckKnownKeys(
      keys, {"quant_method", "format", "config_groups", "ignore", "quantization_status",
             "sparsity_config", "transform_config", "kv_cache_scheme", "global_compression_ratio",
             "version", "dequantize", "run_compressed"}));
  FM_RETURN_IF_ERROR(CheckChoice(keys, "quantization_status", {"compressed"},
                                 ": files of another status hold no codes"));
  FM_RETURN_IF_ERROR(keys.Strings("ignore").status());
  FM_RETURN_IF_ERROR(
      CheckNeutralObject(keys, "sparsity_config", "sparse weights are not supported"));
  return CheckNeutralObject(keys, "transform_config",
                            "weights that are rotated (transforms) are not supported");
}

}  // namespace

absl::StatusOr<CompressedScheme> ReadCompressedScheme(const ConfigReader& keys) {
  FM_RETURN_IF_ERROR(CheckTop(keys));
  FM_ASSIGN_OR_RETURN(const auto format, keys.OptionalString("format"));
  const nlohmann::json* groups = keys.Find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    return keys.Wrong("config_groups", "it must be an object with at least one group");
  }
  std::optional<CompressedScheme> scheme;
  for (const auto& [name, group] : groups->items()) {
    const std::string where = keys.prefix() + fmt::format("config_groups.{}.", name);
    if (!group.is_object()) return keys.Wrong("config_groups", "its groups must be objects");
    FM_ASSIGN_OR_RETURN(const CompressedScheme read,
                        ReadGroup(ConfigReader(group, where), where, format.value_or("")));
    if (scheme && !(read == *scheme)) {
      return keys.Wrong("config_groups",
                        fmt::format("'{}' differs from the group before it: mixed schemes are not "
                                    "supported; quantise all modules alike, or leave some plain",
                                    name));
    }
    scheme = read;
  }
  return *scheme;
}

std::string Describe(const CompressedScheme& scheme) {
  if (scheme.layout == Layout::kFp4) return scheme.global_scale ? "NVFP4" : "MXFP4";
  if (scheme.exponents) return "MXFP8";
  std::string text = scheme.floats ? "FP8" : fmt::format("int{}", scheme.bits);
  if (!scheme.symmetric) text += " with zero points";
  switch (scheme.strategy) {
    case Strategy::kTensor:
      return text + ", one scale per tensor";
    case Strategy::kChannel:
      return text + ", one scale per row";
    case Strategy::kGroup:
      return text + fmt::format(" in groups of {}", scheme.group_size);
    case Strategy::kBlock:
      break;
  }
  return text + fmt::format(" in blocks of {} x {}", scheme.block_rows, scheme.block_columns);
}

}  // namespace folkmoot
