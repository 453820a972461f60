// SPDX-License-Identifier: Apache-2.0
#include "layers/models/dots3_note_latents.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "layers/models/deepseek_parts.h"
#include "layers/models/sparse_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kHeads = "num_attention_heads";
constexpr const char* kKvHeads = "num_key_value_heads";
constexpr const char* kHeadDim = "head_dim";
constexpr const char* kQueryRank = "q_lora_rank";
constexpr const char* kRank = "kv_lora_rank";
constexpr const char* kStill = "qk_nope_head_dim";
constexpr const char* kTurning = "qk_rope_head_dim";
constexpr const char* kValues = "v_head_dim";
constexpr const char* kRopes = "rope_parameters";
constexpr const char* kTheta = "rope_theta";
constexpr const char* kWindowTheta = "swa_rope_theta";
constexpr std::string_view kFull = "full_attention";
constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kWindowPrefix = "swa_";
constexpr double kUsualTheta = 8e7;
constexpr int64_t kUsualHeadDim = 256;
constexpr IntRange kSizes = {1, 1 << 16};

bool Slides(const LayerConfig& layer) { return layer.sliding_window > 0; }

// Of normalised latents.
float LatentScale(const ModelConfig& config, int64_t rank) {
  return static_cast<float>(
      std::sqrt(static_cast<double>(config.hidden) / static_cast<double>(rank)));
}

float ScoreScaleOf(const LatentConfig& latent) {
  const auto numbers = static_cast<double>(latent.nope_dim + latent.rope_dim);
  return static_cast<float>(1.0 / std::sqrt(numbers));
}

absl::Status ReadUsual(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatentDims(source, {.q_rank = 1024, .any_head_dim = true}, config));
  LatentConfig& latent = config.latent;
  if (latent.q_rank == 0) return source.keys.Wrong(kQueryRank, "queries have a latent: give one");
  if (latent.rope_dim % 2 != 0) return source.keys.Wrong(kTurning, "it must be even");
  latent.norm_eps = config.rms_norm_eps;
  latent.key_norm = true;
  latent.q_scale = LatentScale(config, latent.q_rank);
  latent.kv_scale = LatentScale(config, latent.kv_rank);
  config.attention_multiplier = ScoreScaleOf(latent);
  return absl::OkStatus();
}

// Of layers with a window, whose numbers have in `keys` the names that those of the others have in
// the file.
absl::Status ReadOfWindows(const ConfigReader& keys, ModelConfig& config) {
  LatentConfig latent = config.latent;
  FM_ASSIGN_OR_RETURN(const int64_t heads, keys.Int(kHeads, 64, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t kv_heads, keys.Int(kKvHeads, 64, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t head_dim, keys.Int(kHeadDim, kUsualHeadDim, kSizes));
  FM_ASSIGN_OR_RETURN(latent.q_rank, keys.Int(kQueryRank, 1024, kSizes));
  FM_ASSIGN_OR_RETURN(latent.kv_rank, keys.Int(kRank, 1024, kSizes));
  FM_ASSIGN_OR_RETURN(latent.nope_dim, keys.Int(kStill, 192, kSizes));
  FM_ASSIGN_OR_RETURN(latent.rope_dim, keys.Int(kTurning, head_dim - latent.nope_dim, kSizes));
  FM_ASSIGN_OR_RETURN(latent.value_dim, keys.Int(kValues, 128, kSizes));
  if (kv_heads != heads) {
    return keys.Wrong(kKvHeads,
                      fmt::format("latent attention has as many as {} = {}", kHeads, heads));
  }
  if (latent.nope_dim + latent.rope_dim != head_dim || latent.rope_dim < 1) {
    return keys.Wrong(kHeadDim, fmt::format("it must be the sum of {} = {} and {} = {}", kStill,
                                            latent.nope_dim, kTurning, latent.rope_dim));
  }
  if (latent.rope_dim % 2 != 0) return keys.Wrong(kTurning, "it must be even");
  latent.q_scale = LatentScale(config, latent.q_rank);
  latent.kv_scale = LatentScale(config, latent.kv_rank);
  for (LayerConfig& layer : config.layers) {
    if (!Slides(layer)) continue;
    layer.heads = layer.kv_heads = heads;
    layer.head_dim = head_dim;
    layer.score_scale = ScoreScaleOf(latent);
  }
  config.local_latent = latent;
  return absl::OkStatus();
}

// What layers have of which per_layer_config says nothing.
json UsualNumbers(const ConfigReader& keys, const ModelConfig& config) {
  const LatentConfig& latent = config.latent;
  const json head_dim = keys.Has(kHeadDim) ? *keys.Find(kHeadDim) : json(kUsualHeadDim);
  return {{kHeads, config.heads},      {kKvHeads, config.kv_heads}, {kHeadDim, head_dim},
          {kQueryRank, latent.q_rank}, {kRank, latent.kv_rank},     {kStill, latent.nope_dim},
          {kTurning, latent.rope_dim}, {kValues, latent.value_dim}};
}

// The numbers of all layers, of each of which there may be an entry by its place.
absl::StatusOr<std::vector<json>> NumbersByLayer(const ConfigReader& keys, const json& usual,
                                                 size_t layers) {
  std::vector<json> numbers(layers, usual);
  const json all = keys.HasValue(kDots3PerLayer) ? *keys.Find(kDots3PerLayer) : json::object();
  if (!all.is_object()) return keys.Wrong(kDots3PerLayer, "it must be an object");
  const std::string prefix = fmt::format("{}{}.", keys.prefix(), kDots3PerLayer);
  for (const auto& [place, entry] : all.items()) {
    size_t layer = layers;
    const char* const end = place.data() + place.size();
    const bool whole = std::from_chars(place.data(), end, layer).ptr == end;
    if (!whole || layer >= layers || !entry.is_object()) {
      return ConfigReader(all, prefix)
          .Wrong(place, fmt::format("known: objects for layers 0 to {}", layers - 1));
    }
    for (const auto& [key, value] : entry.items()) {
      if (!usual.contains(key)) {
        return ConfigReader(entry, fmt::format("{}{}.", prefix, place))
            .Wrong(key, "layers differ in numbers of latent attention alone");
      }
      numbers[layer][key] = value;
    }
  }
  return numbers;
}

// Those with a window must be alike, and so must the others.
absl::Status ReadByLayer(const ConfigReader& keys, ModelConfig& config) {
  const json usual = UsualNumbers(keys, config);
  FM_ASSIGN_OR_RETURN(const auto numbers, NumbersByLayer(keys, usual, config.layers.size()));
  const json* of_windows = nullptr;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const bool slides = Slides(config.layers[i]);
    if (slides && of_windows == nullptr) of_windows = &numbers[i];
    if (numbers[i] == (slides ? *of_windows : usual)) continue;
    const char* const from =
        slides ? "others with a window" : "what stands beside it, and has no window";
    return keys.Wrong(kDots3PerLayer, fmt::format("layer {} differs from {}", i, from));
  }
  if (of_windows == nullptr) return absl::OkStatus();
  const std::string prefix = fmt::format("{}{}.", keys.prefix(), kDots3PerLayer);
  return ReadOfWindows(ConfigReader(*of_windows, prefix), config);
}

absl::Status CheckEntries(const ConfigReader& keys) {
  if (!keys.HasValue(kRopes)) return absl::OkStatus();
  for (const auto& [kind, entry] : keys.Find(kRopes)->items()) {
    if (kind == kFull || kind == kSliding || kind == kIndexed) continue;
    return keys.Wrong(kRopes, fmt::format("'{}' is not a kind of layers; known: {}, {}, {}", kind,
                                          kFull, kSliding, kIndexed));
  }
  return absl::OkStatus();
}

// One kind of layers: its entry in rope_parameters, else key `theta`. All of qk_rope_head_dim
// turns, whatever part of head_dim the file says that is.
absl::StatusOr<RopeConfig> ReadRope(const ConfigReader& keys, std::string_view kind,
                                    const char* theta, RopeDefaults defaults) {
  FM_ASSIGN_OR_RETURN(const auto own, keys.OptionalNumber(theta, 1.0));
  json part = json::object();
  if (keys.HasValue(kRopes)) {
    const json& all = *keys.Find(kRopes);
    const std::string name(kind);
    if (!all.is_object() || !all.contains(name) || !all[name].is_object()) {
      return keys.Wrong(kRopes, fmt::format("it must have an entry {}", kind));
    }
    part = {{kRopes, all[name]}};
    part[kRopes].erase("partial_rotary_factor");
    FM_ASSIGN_OR_RETURN(const auto usual, keys.OptionalNumber(kTheta, 1.0));
    defaults.theta = usual.value_or(kUsualTheta);
  } else {
    defaults.theta = own.value_or(defaults.theta);
  }
  std::string prefix = keys.prefix();
  prefix.insert(prefix.rfind("key '"), fmt::format("{}: ", kind));
  FM_ASSIGN_OR_RETURN(RopeConfig rope, ParseRope(ConfigReader(part, prefix), defaults));
  if (own && *own != rope.theta) {
    return keys.Wrong(theta,
                      fmt::format("{} of {} counts: it must be the same", rope.theta, kRopes));
  }
  rope.dim = defaults.dim;
  rope.neighbours = true;
  return rope;
}

}  // namespace

absl::Status ReadDots3Latents(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadUsual(source, config));
  config.attention_gate = AttentionGate::kOwn;
  config.gate_per_head = true;
  json of_windows = json::object();
  for (const auto& [key, value] : keys.object().items()) {
    if (!key.starts_with(kWindowPrefix)) continue;
    const std::string usual = key.substr(kWindowPrefix.size());
    const bool number =
        usual.ends_with("heads") || usual.ends_with("rank") || usual.ends_with("dim");
    if (number && keys.Has(kDots3PerLayer)) {
      return keys.Wrong(key, fmt::format("{} decides; remove one of them", kDots3PerLayer));
    }
    of_windows[usual] = value;
  }
  if (keys.Has(kDots3PerLayer)) return ReadByLayer(keys, config);
  if (std::none_of(config.layers.begin(), config.layers.end(), Slides)) return absl::OkStatus();
  const std::string prefix = fmt::format("{}{}", keys.prefix(), kWindowPrefix);
  return ReadOfWindows(ConfigReader(of_windows, prefix), config);
}

absl::Status ReadDots3Ropes(const ConfigReader& keys, std::string_view kind, ModelConfig& config) {
  FM_RETURN_IF_ERROR(CheckEntries(keys));
  for (LayerConfig& layer : config.layers) layer.local_rope = Slides(layer);
  RopeDefaults defaults = {
      .theta = kUsualTheta, .dim = config.latent.rope_dim, .max_positions = config.max_positions};
  config.rope.neighbours = true;
  if (!std::all_of(config.layers.begin(), config.layers.end(), Slides)) {
    FM_ASSIGN_OR_RETURN(config.rope, ReadRope(keys, kind, kTheta, defaults));
  }
  if (!config.local_latent) return absl::OkStatus();
  defaults.dim = config.local_latent->rope_dim;
  defaults.theta = 5e4;
  FM_ASSIGN_OR_RETURN(config.local_rope, ReadRope(keys, kSliding, kWindowTheta, defaults));
  return absl::OkStatus();
}

}  // namespace folkmoot
