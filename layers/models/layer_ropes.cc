// SPDX-License-Identifier: Apache-2.0
#include "layers/models/layer_ropes.h"

#include <string>
#include <utility>

#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kBoth = "rope_parameters";
constexpr const char* kPart = "partial_rotary_factor";

absl::Status CheckEntries(const ConfigReader& keys, std::span<const std::string_view> older,
                          const RopeEntries& entries) {
  for (const std::string_view key : older) {
    if (keys.HasValue(key)) return keys.Wrong(key, "rope_parameters decides; remove one of them");
  }
  const json& both = *keys.Find(kBoth);
  bool known = both.is_object();
  for (const auto& [kind, entry] : both.items()) {
    const bool type = entries.typed && kind == "rope_type" && entry == "default";
    known = known && (kind == entries.full || kind == entries.local || type);
  }
  if (known) return absl::OkStatus();
  return keys.Wrong(
      kBoth, fmt::format("it must have entries {} and {} only", entries.full, entries.local));
}

absl::StatusOr<RopeConfig> ReadKind(const ConfigReader& keys, const char* kind,
                                    const OlderRopeKeys& older, const ModelConfig& config) {
  json part = older.keys;
  if (keys.HasValue(kBoth)) {
    const json& both = *keys.Find(kBoth);
    part = both.contains(kind) ? json{{kBoth, both[kind]}} : json::object();
  }
  // That of both kinds; ParseRope refuses contradictions.
  if (older.partial > 0 && keys.HasValue(kPart)) part[kPart] = *keys.Find(kPart);
  std::string prefix = keys.prefix();
  prefix.insert(prefix.rfind("key '"), fmt::format("{}: ", kind));
  return ParseRope(ConfigReader(part, std::move(prefix)), {.theta = older.theta,
                                                           .dim = config.head_dim,
                                                           .partial = older.partial,
                                                           .max_positions = config.max_positions});
}

bool HasPartialFactor(const ConfigReader& keys) {
  for (const char* object : {kBoth, "rope_scaling"}) {
    const json* rope = keys.Find(object);
    if (rope != nullptr && rope->is_object() && rope->contains(kPart)) return true;
  }
  return keys.HasValue(kPart);
}

}  // namespace

absl::Status ReadLayerRopes(const ConfigReader& keys, std::span<const std::string_view> older,
                            const OlderRopeKeys& full, const OlderRopeKeys& local,
                            ModelConfig& config, const RopeEntries& entries) {
  if (keys.HasValue(kBoth)) FM_RETURN_IF_ERROR(CheckEntries(keys, older, entries));
  FM_ASSIGN_OR_RETURN(config.rope, ReadKind(keys, entries.full, full, config));
  FM_ASSIGN_OR_RETURN(config.local_rope, ReadKind(keys, entries.local, local, config));
  for (LayerConfig& layer : config.layers) layer.local_rope = layer.sliding_window > 0;
  return absl::OkStatus();
}

absl::Status CheckThetas(const ConfigReader& keys, const ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto theta, keys.OptionalNumber("rope_theta", 0.0));
  if (keys.HasValue("rope_scaling")) {
    return keys.Wrong("rope_scaling", "rope_parameters decides; remove one of them");
  }
  if (!theta || *theta == config.rope.theta) return absl::OkStatus();
  return keys.Wrong("rope_theta", fmt::format("{} of rope_parameters.full_attention counts: it "
                                              "must be the same",
                                              config.rope.theta));
}

absl::Status ReadRotaryDim(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  RopeDefaults rope = {.theta = source.family.rope_theta,
                       .dim = config.head_dim,
                       .partial = 1.0,
                       .max_positions = config.max_positions};
  FM_ASSIGN_OR_RETURN(const auto dim, keys.OptionalInt("rotary_dim", {2, config.head_dim}));
  if (dim && *dim % 2 != 0) return keys.Wrong("rotary_dim", "it must be even");
  const bool by_dim = dim.has_value() && !HasPartialFactor(keys);
  if (by_dim) {
    rope.dim = *dim;
    rope.partial = 0;  // all of these
  }
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(keys, rope));
  if (by_dim) config.rope.dim = *dim;
  const double turning = static_cast<double>(config.head_dim) * config.rope.partial_rotary_factor;
  if (dim && !by_dim && static_cast<int64_t>(turning) != *dim) {
    return keys.Wrong("rotary_dim", "it contradicts partial_rotary_factor; keep one of the two");
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
