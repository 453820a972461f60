// SPDX-License-Identifier: Apache-2.0
#include "layers/models/deepseek_v4_ropes.h"

#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kPart = "partial_rotary_factor";
constexpr const char* kRopeDim = "qk_rope_head_dim";
constexpr const char* kRopes = "rope_parameters";
constexpr const char* kScaling = "rope_scaling";
constexpr IntRange kSizes = {1, 1 << 16};

// The part of a head that turns: by its numbers, or as a fraction.
absl::StatusOr<double> ReadPart(const ConfigReader& keys, int64_t head_dim) {
  const auto whole = static_cast<double>(head_dim);
  FM_ASSIGN_OR_RETURN(const auto part, keys.OptionalNumber(kPart, 0.0));
  FM_ASSIGN_OR_RETURN(const auto dim, keys.OptionalInt(kRopeDim, kSizes));
  if (part && dim && static_cast<int64_t>(whole * *part) != *dim) {
    return keys.Wrong(kRopeDim, fmt::format("it contradicts {} = {}", kPart, *part));
  }
  if (part) return *part;
  return dim ? static_cast<double>(*dim) / whole : 64.0 / 512.0;
}

// The rotation that `part`, keys in the usual style, describes.
absl::StatusOr<RopeConfig> ReadRope(const ConfigReader& keys, const char* kind, const json& part,
                                    double fraction, const ModelConfig& config) {
  const ConfigReader reader(part, fmt::format("{}{}.", keys.prefix(), kind));
  FM_ASSIGN_OR_RETURN(RopeConfig rope, ParseRope(reader, {.theta = config.rope.theta,
                                                          .dim = config.head_dim,
                                                          .partial = fraction,
                                                          .max_positions = config.max_positions}));
  if (rope.type == RopeType::kDynamic || rope.type == RopeType::kLongrope) {
    return keys.Wrong(kRopes,
                      "entries of the past cannot turn by the length of a sequence: known "
                      "types are default, linear, yarn, llama3");
  }
  rope.dim =
      static_cast<int64_t>(static_cast<double>(config.head_dim) * rope.partial_rotary_factor);
  rope.neighbours = true;
  return rope;
}

// Both rotations by themselves, as Transformers writes them beside its defaults of rope_theta and
// compress_rope_theta, which it does not read then.
absl::Status ReadNestedRopes(const ConfigReader& keys, double fraction, ModelConfig& config) {
  const json& both = *keys.Find(kRopes);
  for (const auto& [kind, entry] : both.items()) {
    if (kind != "main" && kind != "compress") {
      return keys.Wrong(kRopes, "it must have entries main and compress only");
    }
    const ConfigReader reader(entry, fmt::format("{}{}.{}.", keys.prefix(), kRopes, kind));
    if (!entry.is_object() || !reader.HasValue("rope_theta")) {
      return keys.Wrong(kRopes, "each entry must be an object with a rope_theta");
    }
    // Transformers' own default scales cos and sin, which the authors never do.
    const json* const type = reader.Find(reader.Has("rope_type") ? "rope_type" : "type");
    if (type != nullptr && *type == "yarn" && !reader.HasValue("attention_factor")) {
      return reader.Wrong("attention_factor", "give it beside yarn; the authors' is 1.0");
    }
    FM_ASSIGN_OR_RETURN((kind == "main" ? config.local_rope.emplace() : config.rope),
                        ReadRope(keys, kRopes, {{kRopes, entry}}, 1.0, config));
  }
  const auto dim = static_cast<int64_t>(static_cast<double>(config.head_dim) * fraction);
  for (const char* key : {kPart, kRopeDim}) {
    if (!keys.HasValue(key) || (config.rope.dim == dim && config.local_rope->dim == dim)) continue;
    return keys.Wrong(key, "it contradicts partial_rotary_factor of an entry of rope_parameters");
  }
  if (keys.HasValue(kScaling)) return keys.Wrong(kScaling, "rope_parameters decides; remove it");
  return absl::OkStatus();
}

// Layers without entries turn plainly; the others by a theta of their own, and stretched.
absl::Status ReadFlatRopes(const ConfigReader& keys, double fraction, ModelConfig& config) {
  constexpr double kAbove = 1.0;
  json plain = json::object(), stretched = json::object();
  FM_ASSIGN_OR_RETURN(plain["rope_theta"], keys.Number("rope_theta", 1e4, kAbove));
  FM_ASSIGN_OR_RETURN(stretched["rope_theta"], keys.Number("compress_rope_theta", 1.6e5, kAbove));
  for (const char* key : {kRopes, kScaling}) {
    if (!keys.HasValue(key)) continue;
    stretched[key] = *keys.Find(key);
    if (!stretched[key].is_object()) return keys.Wrong(key, "it must be an object or null");
    // That of the layers without entries, which stands in the file, too.
    if (stretched[key].value("rope_theta", json()) == plain["rope_theta"]) {
      stretched[key].erase("rope_theta");
    }
  }
  plain[kPart] = stretched[kPart] = fraction;
  FM_ASSIGN_OR_RETURN(config.local_rope, ReadRope(keys, "main", plain, fraction, config));
  FM_ASSIGN_OR_RETURN(config.rope, ReadRope(keys, "compress", stretched, fraction, config));
  // The authors do not scale cos and sin.
  if (config.rope.type == RopeType::kYarn && !config.rope.attention_factor) {
    config.rope.attention_factor = 1.0;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadMainAndCompressRopes(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const double fraction, ReadPart(keys, config.head_dim));
  const bool nested = keys.HasValue(kRopes) && keys.Find(kRopes)->is_object() &&
                      keys.Find(kRopes)->contains("main") &&
                      keys.Find(kRopes)->contains("compress");
  return nested ? ReadNestedRopes(keys, fraction, config) : ReadFlatRopes(keys, fraction, config);
}

}  // namespace folkmoot
