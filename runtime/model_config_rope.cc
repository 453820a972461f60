// SPDX-License-Identifier: Apache-2.0
// ParseRope finds the object that describes the embedding and reads its type; ReadStretching reads
// what belongs to that type. Defaults are those of Transformers' modeling_rope_utils.py.
#include "runtime/model_config_rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<std::string_view, RopeType>, 7> kTypes = {{
    {"default", RopeType::kDefault},
    {"linear", RopeType::kLinear},
    {"dynamic", RopeType::kDynamic},
    {"yarn", RopeType::kYarn},
    {"llama3", RopeType::kLlama3},
    {"longrope", RopeType::kLongrope},
    {"proportional", RopeType::kProportional},
}};

std::vector<std::string_view> KeysOf(RopeType type, const RopeDefaults& defaults) {
  // original_max_position_embeddings is read by yarn, llama3 and longrope; the others may carry it.
  std::vector<std::string_view> keys = {"rope_type", "type", "rope_theta", "partial_rotary_factor",
                                        "original_max_position_embeddings"};
  const auto add = [&keys](std::initializer_list<std::string_view> more) {
    keys.insert(keys.end(), more);
  };
  if (defaults.sections) add({"mrope_section", "mrope_interleaved", "interleaved"});
  switch (type) {
    case RopeType::kDefault:
      break;
    case RopeType::kProportional:
      add({"factor"});
      break;
    case RopeType::kLinear:
    case RopeType::kDynamic:
      add({"factor"});
      if (defaults.alpha) add({"alpha"});
      // Published beside alpha, and read by nobody.
      if (defaults.alpha && type == RopeType::kDynamic) {
        add({"beta_fast", "beta_slow", "mscale", "mscale_all_dim"});
      }
      break;
    case RopeType::kYarn:
      add({"factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
           "truncate"});
      break;
    case RopeType::kLlama3:
      add({"factor", "low_freq_factor", "high_freq_factor"});
      break;
    case RopeType::kLongrope:
      add({"short_factor", "long_factor"});
      if (defaults.mscales) {
        add({"short_mscale", "long_mscale"});
      } else {
        add({"factor", "attention_factor"});
      }
      break;
  }
  return keys;
}

struct RopeObject {
  const json* object = nullptr;  // null: neither style has one
  std::string_view name;
};

absl::StatusOr<RopeObject> FindObject(const ConfigReader& top) {
  RopeObject found;
  for (const std::string_view name : {"rope_parameters", "rope_scaling"}) {
    const json* value = top.Find(name);
    if (value == nullptr || value->is_null()) continue;
    if (!value->is_object()) return top.Wrong(name, "it must be an object or null");
    if (value->empty()) continue;
    if (found.object != nullptr && *found.object != *value) {
      return top.Wrong(name, "it contradicts 'rope_parameters'; keep one of the two");
    }
    found = {value, name};
  }
  return found;
}

absl::StatusOr<RopeType> ReadType(const ConfigReader& rope, bool proportional) {
  FM_ASSIGN_OR_RETURN(const auto new_name, rope.OptionalString("rope_type"));
  FM_ASSIGN_OR_RETURN(const auto old_name, rope.OptionalString("type"));
  if (new_name && old_name && *new_name != *old_name) {
    return rope.Wrong("type", "it contradicts 'rope_type'; keep one of the two");
  }
  const std::string name = new_name.value_or(old_name.value_or("default"));
  for (const auto& [known, type] : kTypes) {
    if (known == name && (proportional || type != RopeType::kProportional)) return type;
  }
  return rope.Wrong(new_name ? "rope_type" : "type",
                    fmt::format("known types: default, linear, dynamic, yarn, llama3, longrope{}",
                                proportional ? ", proportional" : ""));
}

absl::Status CheckKeys(const json& object, const ConfigReader& rope, RopeType type,
                       const RopeDefaults& defaults) {
  const std::vector<std::string_view> keys = KeysOf(type, defaults);
  for (const auto& [key, value] : object.items()) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    return rope.Wrong(key, fmt::format("rope type '{}' has no such key; remove it",
                                       kTypes[static_cast<size_t>(type)].first));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> RequiredNumber(const ConfigReader& rope, std::string_view key) {
  FM_ASSIGN_OR_RETURN(const auto number, rope.OptionalNumber(key, 0.0));
  if (!number) return rope.Wrong(key, "this rope type needs a number greater than 0");
  return *number;
}

absl::Status ReadYarn(const ConfigReader& rope, int64_t max_positions, RopeConfig& config) {
  if (!rope.Has("factor")) return rope.Wrong("factor", "rope type 'yarn' needs it");
  FM_ASSIGN_OR_RETURN(const auto factor, rope.OptionalNumber("factor", 0.0));
  config.factor = factor.value_or(static_cast<double>(max_positions) /
                                  static_cast<double>(config.original_max_positions));
  FM_ASSIGN_OR_RETURN(config.attention_factor, rope.OptionalNumber("attention_factor", 0.0));
  // Zero means absent for these four.
  FM_ASSIGN_OR_RETURN(const auto fast, rope.OptionalNumber("beta_fast", kBelowZero));
  FM_ASSIGN_OR_RETURN(const auto slow, rope.OptionalNumber("beta_slow", kBelowZero));
  if (fast.value_or(0.0) > 0.0) config.beta_fast = *fast;
  if (slow.value_or(0.0) > 0.0) config.beta_slow = *slow;
  FM_ASSIGN_OR_RETURN(config.mscale, rope.OptionalNumber("mscale", kBelowZero));
  FM_ASSIGN_OR_RETURN(config.mscale_all_dim, rope.OptionalNumber("mscale_all_dim", kBelowZero));
  FM_ASSIGN_OR_RETURN(config.truncate, rope.Bool("truncate", true));
  return absl::OkStatus();
}

absl::Status ReadLlama3(const ConfigReader& rope, RopeConfig& config) {
  FM_ASSIGN_OR_RETURN(config.factor, RequiredNumber(rope, "factor"));
  FM_ASSIGN_OR_RETURN(config.low_freq_factor, RequiredNumber(rope, "low_freq_factor"));
  FM_ASSIGN_OR_RETURN(config.high_freq_factor, RequiredNumber(rope, "high_freq_factor"));
  if (config.high_freq_factor < config.low_freq_factor) {
    return rope.Wrong("high_freq_factor", "it must not be less than low_freq_factor");
  }
  return absl::OkStatus();
}

absl::Status ReadMscales(const ConfigReader& rope, RopeConfig& config) {
  if (!rope.HasValue("original_max_position_embeddings")) {
    return rope.Wrong("original_max_position_embeddings", "this rope type needs it");
  }
  FM_ASSIGN_OR_RETURN(config.short_mscale, RequiredNumber(rope, "short_mscale"));
  FM_ASSIGN_OR_RETURN(config.long_mscale, RequiredNumber(rope, "long_mscale"));
  return absl::OkStatus();
}

absl::Status ReadLongrope(const ConfigReader& rope, int64_t head_dim, const RopeDefaults& defaults,
                          RopeConfig& config) {
  for (const std::string_view key : {"short_factor", "long_factor"}) {
    FM_ASSIGN_OR_RETURN(std::vector<double> factors, rope.Numbers(key, 0.0));
    if (static_cast<int64_t>(factors.size()) != head_dim / 2) {
      return rope.Wrong(key, fmt::format("it must have head_dim / 2 = {} entries", head_dim / 2));
    }
    (key == "short_factor" ? config.short_factor : config.long_factor) = std::move(factors);
  }
  if (config.original_max_positions < 2) {
    return rope.Wrong("original_max_position_embeddings", "it must be at least 2 for longrope");
  }
  if (defaults.mscales) return ReadMscales(rope, config);
  FM_ASSIGN_OR_RETURN(config.attention_factor, rope.OptionalNumber("attention_factor", 0.0));
  FM_ASSIGN_OR_RETURN(const auto factor, rope.OptionalNumber("factor", 0.0));
  config.factor = factor.value_or(static_cast<double>(defaults.max_positions) /
                                  static_cast<double>(config.original_max_positions));
  return absl::OkStatus();
}

absl::Status ReadStretching(const ConfigReader& rope, int64_t head_dim,
                            const RopeDefaults& defaults, RopeConfig& config) {
  switch (config.type) {
    case RopeType::kDefault:
      return absl::OkStatus();
    case RopeType::kDynamic:
      if (head_dim < 4) return rope.Wrong("rope_type", "dynamic needs a head_dim of at least 4");
      [[fallthrough]];
    case RopeType::kLinear: {
      FM_ASSIGN_OR_RETURN(config.factor, RequiredNumber(rope, "factor"));
      return absl::OkStatus();
    }
    case RopeType::kYarn:
      return ReadYarn(rope, defaults.max_positions, config);
    case RopeType::kLlama3:
      return ReadLlama3(rope, config);
    case RopeType::kLongrope:
      return ReadLongrope(rope, head_dim, defaults, config);
    case RopeType::kProportional: {
      config.dim = defaults.dim;
      FM_ASSIGN_OR_RETURN(config.factor, rope.Number("factor", 1.0, 0.0));
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

// Tencent's form of dynamic NTK: one larger base for sequences of every length. Transformers
// forgets alpha beyond max_position_embeddings; Tencent's code does not.
absl::Status ApplyAlpha(const ConfigReader& rope, int64_t head_dim, RopeConfig& config) {
  if (config.type != RopeType::kDynamic) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto alpha, rope.OptionalNumber("alpha", kBelowZero));
  if (alpha.value_or(0.0) == 0.0) return absl::OkStatus();
  const double exponent = static_cast<double>(head_dim) / static_cast<double>(head_dim - 2);
  config.type = RopeType::kDefault;
  config.theta *= std::pow(*alpha, exponent);
  return absl::OkStatus();
}

// The object's theta, else the file's, else the family's.
absl::StatusOr<double> ReadTheta(const ConfigReader& top, const ConfigReader& rope,
                                 double default_theta) {
  constexpr double kAbove = 1.0;  // at 1 every frequency would be the same
  FM_ASSIGN_OR_RETURN(const auto inner, rope.OptionalNumber("rope_theta", kAbove));
  FM_ASSIGN_OR_RETURN(const auto outer, top.OptionalNumber("rope_theta", kAbove));
  if (inner && outer && *inner != *outer && *outer != default_theta) {
    return rope.Wrong("rope_theta", fmt::format("it contradicts the top-level rope_theta {}; "
                                                "keep one of the two",
                                                *outer));
  }
  return inner.value_or(outer.value_or(default_theta));
}

// The context before stretching. The top-level key goes first, as in Transformers, but for families
// that do not look at it.
absl::StatusOr<int64_t> ReadContext(const ConfigReader& top, const ConfigReader& rope,
                                    RopeType type, const RopeDefaults& defaults) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  FM_ASSIGN_OR_RETURN(const auto outer, top.OptionalInt(kKey));
  FM_ASSIGN_OR_RETURN(const auto inner, rope.OptionalInt(kKey));
  const bool read =
      type == RopeType::kYarn || type == RopeType::kLlama3 || type == RopeType::kLongrope;
  if (defaults.context_inside && read && outer && outer != inner) {
    return top.Wrong(kKey, "what counts here is that of the rope object: it must be the same");
  }
  return outer.value_or(inner.value_or(defaults.max_positions));
}

// The part of the pairs of a head that turn; all have a frequency.
absl::StatusOr<double> ReadPairs(const ConfigReader& rope) {
  constexpr std::string_view kKey = "partial_rotary_factor";
  FM_ASSIGN_OR_RETURN(const double part, rope.Number(kKey, 1.0, kBelowZero));
  if (part <= 1.0) return part;
  return rope.Wrong(kKey, "no more than all pairs can turn: it must be at most 1");
}

// The part of the numbers that may turn which does.
absl::StatusOr<double> ReadPart(const ConfigReader& top, const ConfigReader& rope,
                                const RopeDefaults& defaults) {
  constexpr std::string_view kKey = "partial_rotary_factor";
  FM_ASSIGN_OR_RETURN(const auto inner, rope.OptionalNumber(kKey, 0.0));
  if (defaults.partial == 0) {
    if (inner.value_or(1.0) == 1.0) return 1.0;
    return rope.Wrong(kKey, "only 1 is part of this architecture");
  }
  FM_ASSIGN_OR_RETURN(const auto outer, top.OptionalNumber(kKey, 0.0));
  if (inner && outer && *inner != *outer) {
    return rope.Wrong(kKey, fmt::format("it contradicts the top-level {}", *outer));
  }
  const double part = inner.value_or(outer.value_or(defaults.partial));
  const auto turning = static_cast<int64_t>(static_cast<double>(defaults.dim) * part);
  if (part <= 1.0 && turning > 0 && turning % 2 == 0) return part;
  return (inner ? rope : top)
      .Wrong(kKey,
             fmt::format("an even number of the {} numbers of a head must turn", defaults.dim));
}

}  // namespace

absl::StatusOr<RopeConfig> ParseRope(const ConfigReader& top, const RopeDefaults& defaults) {
  FM_ASSIGN_OR_RETURN(const RopeObject found, FindObject(top));
  const json absent = defaults.absent.empty() ? json::object() : json::parse(defaults.absent);
  const json& object = found.object == nullptr ? absent : *found.object;
  const ConfigReader rope(object, fmt::format("{}{}.", top.prefix(), found.name));

  RopeConfig result;
  FM_ASSIGN_OR_RETURN(result.type, ReadType(rope, defaults.proportional));
  FM_RETURN_IF_ERROR(CheckKeys(object, rope, result.type, defaults));
  FM_ASSIGN_OR_RETURN(result.theta, ReadTheta(top, rope, defaults.theta));
  FM_ASSIGN_OR_RETURN(result.partial_rotary_factor, result.type == RopeType::kProportional
                                                        ? ReadPairs(rope)
                                                        : ReadPart(top, rope, defaults));
  FM_ASSIGN_OR_RETURN(result.original_max_positions, ReadContext(top, rope, result.type, defaults));
  const auto turning =
      static_cast<int64_t>(static_cast<double>(defaults.dim) * result.partial_rotary_factor);
  FM_RETURN_IF_ERROR(ReadStretching(rope, turning, defaults, result));
  if (defaults.alpha) FM_RETURN_IF_ERROR(ApplyAlpha(rope, turning, result));
  return result;
}

}  // namespace folkmoot
