// SPDX-License-Identifier: Apache-2.0
// ParseConfigOf: which family (FamilyOf), where its keys stand (KeysInOneObject), no unknown ones
// (CheckKeys), then one Read* function for each part of ModelConfig.

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/config_family.h"
#include "runtime/model_config_layers.h"
#include "runtime/model_config_objects.h"
#include "runtime/model_config_rope.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

using nlohmann::json;

// Bounds that no model comes near.
constexpr IntRange kLayers = {1, 10000};
constexpr IntRange kHeads = {1, 1 << 16};
constexpr IntRange kTokenId = {0, INT32_MAX};

absl::StatusOr<const ConfigFamily*> FamilyOf(std::span<const ConfigFamily* const> families,
                                             const ConfigReader& keys, std::string_view file) {
  FM_ASSIGN_OR_RETURN(const auto architectures, keys.Strings("architectures"));
  FM_ASSIGN_OR_RETURN(const auto model_type, keys.OptionalString("model_type"));
  std::vector<std::string_view> names;
  for (const ConfigFamily* family : families) names.push_back(family->architecture);
  const std::string known = fmt::format("known: {}", fmt::join(names, ", "));
  if (architectures.empty() && !model_type) {
    return InvalidArgument("{}: neither 'architectures' nor 'model_type' is given; {}", file,
                           known);
  }
  const auto is = [](std::string_view name, std::string_view one, std::string_view other) {
    return name == one || (!other.empty() && name == other);
  };
  const ConfigFamily* wrong_type = nullptr;
  for (const ConfigFamily* family : families) {
    const bool named = !architectures.empty() &&
                       is(architectures[0], family->architecture, family->other_architecture);
    // A model_type that others have too says nothing by itself.
    const std::string_view other = architectures.empty() ? "" : family->other_model_type;
    const bool typed = model_type && is(*model_type, family->model_type, other);
    if (architectures.empty() ? !typed : !named) continue;
    if (typed || !model_type) return family;
    // A family may name, as Transformers does, the class of another that runs it, too.
    if (wrong_type == nullptr) wrong_type = family;
  }
  if (wrong_type != nullptr) {
    return keys.Wrong("model_type",
                      fmt::format("{} is '{}'", wrong_type->architecture, wrong_type->model_type));
  }
  if (architectures.empty()) return keys.Wrong("model_type", known);
  return InvalidArgument("{}: architecture '{}' is not supported; {}", file, architectures[0],
                         known);
}

absl::Status CheckNeutral(const ConfigSource& source, const NeutralKey& rule) {
  const json* value = source.keys.Find(rule.key);
  if (value->is_null() || *value == rule.neutral) return absl::OkStatus();
  return source.keys.Wrong(rule.key, rule.reason);
}

const FixedKey* FindFixed(const ConfigFamily& family, std::string_view key) {
  for (const FixedKey& fixed : family.fixed) {
    if (fixed.key == key) return &fixed;
  }
  return nullptr;
}

absl::Status CheckFixed(const ConfigSource& source, std::string_view key, const json& value) {
  std::vector<std::string_view> accepted;
  for (const FixedKey& fixed : source.family.fixed) {
    if (fixed.key != key) continue;
    if (value.is_null() || value == json::parse(fixed.value)) return absl::OkStatus();
    accepted.push_back(fixed.value);
  }
  return source.keys.Wrong(key,
                           fmt::format("{} is computed with {} only", source.family.architecture,
                                       fmt::join(accepted, " or ")));
}

// Two spellings of one key that say different things.
absl::Status CheckAliases(const ConfigSource& source) {
  for (const KeyAlias& alias : source.family.aliases) {
    const json& object = source.keys.object();
    const auto usual = object.find(alias.usual);
    const auto own = object.find(alias.own);
    if (!alias.both || usual == object.end() || own == object.end() || *usual == *own) continue;
    return source.keys.Wrong(alias.own,
                             fmt::format("it contradicts {}; keep one of the two", alias.usual));
  }
  return absl::OkStatus();
}

// Also in an object of its own.
bool IsHarmless(const ConfigFamily& family, std::string_view key) {
  const size_t dot = key.rfind('.');
  const auto nested = std::find(family.nested.begin(), family.nested.end(), key.substr(0, dot));
  return IsHarmlessKey(key) || (dot != std::string_view::npos && nested != family.nested.end() &&
                                IsHarmlessKey(key.substr(dot + 1)));
}

absl::Status CheckKeys(const ConfigSource& source) {
  const std::vector<std::string_view> honoured = HonouredKeys(source.family);
  const std::vector<NeutralKey> neutral = NeutralKeys();
  for (const auto& [key, value] : source.keys.object().items()) {
    if (IsHarmless(source.family, key)) continue;
    if (std::find(honoured.begin(), honoured.end(), key) != honoured.end()) continue;
    if (const FixedKey* fixed = FindFixed(source.family, key); fixed != nullptr) {
      FM_RETURN_IF_ERROR(CheckFixed(source, key, value));
      continue;
    }
    const auto rule = std::find_if(neutral.begin(), neutral.end(),
                                   [&name = key](const NeutralKey& n) { return n.key == name; });
    // Where q, k and v have biases anyway, "attention_bias": false would be a false promise.
    const bool promise = key == "attention_bias" && source.family.bias != BiasRule::kNever;
    if (rule != neutral.end() && !promise) {
      FM_RETURN_IF_ERROR(CheckNeutral(source, *rule));
      continue;
    }
    // By the name that it has in the file, which an alias may hide.
    return ConfigReader(source.keys.object(), source.keys.prefix())
        .Wrong(key, fmt::format("{} has no such key; remove it if it is known to change nothing",
                                source.family.architecture));
  }
  return CheckAliases(source);
}

absl::Status ReadSizes(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const ConfigFamily& family = source.family;
  FM_ASSIGN_OR_RETURN(config.vocab, keys.Int("vocab_size", family.vocab, kWidthRange));
  FM_ASSIGN_OR_RETURN(config.hidden, keys.Int("hidden_size", family.hidden, kWidthRange));
  if (family.intermediate > 0) {
    FM_ASSIGN_OR_RETURN(config.intermediate,
                        keys.Int("intermediate_size", family.intermediate, kWidthRange));
  }
  FM_ASSIGN_OR_RETURN(const int64_t layers, keys.Int("num_hidden_layers", family.layers, kLayers));
  config.layers.resize(static_cast<size_t>(layers));
  FM_ASSIGN_OR_RETURN(config.max_positions,
                      keys.Int("max_position_embeddings", family.max_positions));
  return absl::OkStatus();
}

absl::Status ReadHeads(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const ConfigFamily& family = source.family;
  FM_ASSIGN_OR_RETURN(config.heads, keys.Int("num_attention_heads", family.heads, kHeads));
  config.kv_heads = family.kv_heads == 0 ? config.heads : family.kv_heads;
  if (keys.HasValue("num_key_value_heads") || !family.kv_heads_null) {
    FM_ASSIGN_OR_RETURN(config.kv_heads, keys.Int("num_key_value_heads", config.kv_heads, kHeads));
  } else if (keys.Has("num_key_value_heads")) {
    config.kv_heads = config.heads;
  }
  if (config.heads == 0) config.heads = config.kv_heads;
  if (config.heads % config.kv_heads != 0) {
    return keys.Wrong("num_key_value_heads",
                      fmt::format("num_attention_heads = {} must be a multiple of it (it is {})",
                                  config.heads, config.kv_heads));
  }
  if (keys.HasValue("head_dim") || (keys.Has("head_dim") && !family.head_dim_null)) {
    FM_ASSIGN_OR_RETURN(config.head_dim, keys.Int("head_dim", 0, kHeads));
  } else if (family.head_dim != 0) {
    config.head_dim = family.head_dim;
  } else if (config.hidden % config.heads == 0) {
    config.head_dim = config.hidden / config.heads;
  } else {
    return keys.Wrong("hidden_size",
                      fmt::format("without head_dim it must be a multiple of num_attention_heads "
                                  "= {} (it is {})",
                                  config.heads, config.hidden));
  }
  if (config.head_dim % 2 != 0) {
    return keys.Wrong("head_dim", fmt::format("rotary embeddings need an even head_dim (it is {})",
                                              config.head_dim));
  }
  return absl::OkStatus();
}

absl::Status ReadBiases(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  switch (source.family.bias) {
    case BiasRule::kNever:
      break;
    case BiasRule::kAlwaysQkv:
      config.qkv_bias = true;
      break;
    case BiasRule::kQkvBiasKey: {
      FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("qkv_bias", true));
      break;
    }
    case BiasRule::kAttentionKey: {
      FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("attention_bias", false));
      config.output_bias = config.qkv_bias;
      break;
    }
  }
  if (source.family.mlp_bias_key) {
    FM_ASSIGN_OR_RETURN(config.mlp_bias, keys.Bool("mlp_bias", false));
  }
  config.qk_norm = source.family.qk_norm;
  return absl::OkStatus();
}

absl::Status ReadActivation(const ConfigSource& source, ModelConfig& config) {
  constexpr std::array<std::pair<std::string_view, Activation>, 10> kNames = {{
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_python_tanh", Activation::kGeluTanh},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"relu", Activation::kRelu},
      {"relu2", Activation::kReluSquared},
  }};
  config.activation = source.family.activation;
  // Where the key may say one thing only, `read` knows what that means.
  const bool fixed = FindFixed(source.family, source.keys.Spelled("hidden_act")) != nullptr;
  if (fixed || !source.keys.Has("hidden_act")) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto name, source.keys.OptionalString("hidden_act"));
  for (const auto& [known, activation] : kNames) {
    if (name && *name == known) {
      config.activation = activation;
      return absl::OkStatus();
    }
  }
  return source.keys.Wrong("hidden_act",
                           "known: silu, gelu, gelu_pytorch_tanh, gelu_new, relu, relu2");
}

absl::Status ReadDType(const ConfigSource& source, ModelConfig& config) {
  constexpr std::array<std::pair<std::string_view, DType>, 4> kNames = {{
      {"float32", DType::kF32},
      {"bfloat16", DType::kBF16},
      {"float16", DType::kF16},
      {"float64", DType::kF64},
  }};
  for (const std::string_view key : {"torch_dtype", "dtype"}) {  // the newer name wins
    FM_ASSIGN_OR_RETURN(auto name, source.keys.OptionalString(key));
    if (!name) continue;
    if (name->starts_with("torch.")) name->erase(0, 6);
    const auto found = std::find_if(kNames.begin(), kNames.end(),
                                    [&name](const auto& known) { return known.first == *name; });
    if (found == kNames.end()) {
      return source.keys.Wrong(key, "known: float32, bfloat16, float16, float64");
    }
    config.dtype = found->second;
  }
  return absl::OkStatus();
}

absl::Status ReadRope(const ConfigSource& source, ModelConfig& config) {
  const ConfigFamily& family = source.family;
  if (family.own_rope) return absl::OkStatus();
  RopeDefaults defaults = {.theta = family.rope_theta,
                           .dim = config.head_dim,
                           .partial = family.partial_rotary,
                           .max_positions = config.max_positions,
                           .absent = family.rope_absent,
                           .context_inside = family.rope_context_inside,
                           .mscales = family.rope_mscales,
                           .alpha = family.rope_alpha};
  constexpr std::string_view kLatentDim = "qk_rope_head_dim";
  if (family.latent_rope_dim > 0) {
    FM_ASSIGN_OR_RETURN(defaults.dim, source.keys.Int(kLatentDim, family.latent_rope_dim, kHeads));
    if (defaults.dim % 2 != 0) return source.keys.Wrong(kLatentDim, "it must be even");
  }
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(source.keys, defaults));
  config.rope.neighbours = family.rope_neighbours;
  return absl::OkStatus();
}

// An id, a list of ids or null (none).
absl::StatusOr<std::vector<int32_t>> ReadEos(const ConfigReader& keys) {
  std::vector<int64_t> ids;
  if (const json* value = keys.Find("eos_token_id"); value != nullptr && value->is_array()) {
    FM_ASSIGN_OR_RETURN(ids, keys.Ints("eos_token_id", kTokenId));
  } else {
    FM_ASSIGN_OR_RETURN(const auto id, keys.OptionalInt("eos_token_id", kTokenId));
    if (id) ids.push_back(*id);
  }
  return std::vector<int32_t>(ids.begin(), ids.end());
}

absl::Status ReadWeightFormat(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kKey = "quantization_config";
  if (!keys.HasValue(kKey)) return absl::OkStatus();
  if (!keys.Find(kKey)->is_object()) return keys.Wrong(kKey, "it must be an object");
  FM_ASSIGN_OR_RETURN(
      config.weight_format,
      MakeWeightFormat(*keys.Find(kKey), fmt::format("{}{}.", keys.prefix(), kKey)));
  return absl::OkStatus();
}

}  // namespace

int64_t ModelConfig::layers_with(Mixer mixer) const {
  return std::count_if(layers.begin(), layers.end(),
                       [mixer](const LayerConfig& layer) { return layer.mixer == mixer; });
}

int64_t ModelConfig::cache_layers() const {
  return std::count_if(layers.begin(), layers.end(), caches);
}

int64_t ModelConfig::widest_attention() const {
  int64_t widest = 0;
  for (const LayerConfig& layer : layers) {
    widest = std::max(widest, heads_of(layer) * value_dim(layer));
  }
  return widest;
}

int64_t ModelConfig::widest_intermediate() const {
  int64_t widest = intermediate;
  for (const LayerConfig& layer : layers) widest = std::max(widest, intermediate_of(layer));
  return widest;
}

int64_t ModelConfig::output_window() const {
  int64_t window = 0;
  for (const LayerConfig& layer : layers) window = std::max(window, layer.sliding_window);
  return windows_keep_prompt ? window : 0;
}

bool ModelConfig::sinks() const {
  return std::any_of(layers.begin(), layers.end(),
                     [](const LayerConfig& layer) { return layer.sinks; });
}

bool ModelConfig::uniform_heads() const {
  return std::all_of(layers.begin(), layers.end(), [this](const LayerConfig& layer) {
    return heads_of(layer) == heads && kv_heads_of(layer) == kv_heads &&
           head_dim_of(layer) == head_dim;
  });
}

LatentConfig ModelConfig::latent_of(const LayerConfig& layer) const {
  LatentConfig own = layer.sliding_window > 0 ? local_latent.value_or(latent) : latent;
  if (layer.rope || !latent.whole_without_rope) return own;
  own.nope_dim += own.rope_dim;
  own.rope_dim = 0;
  return own;
}

int64_t ModelConfig::cache_numbers() const {
  const int64_t tokens = std::max<int64_t>(indexer.pool, 1);  // of an indexer's key
  int64_t sum = (indexers() * indexer.head_dim + tokens - 1) / tokens;
  for (size_t i = static_cast<size_t>(encoder.layers); i < layers.size(); ++i) {
    const LayerConfig& layer = layers[i];
    if (layer.mixer == Mixer::kCompressed) {
      const int64_t entry = head_dim + (layer.overlapping ? compressed.indexer.head_dim : 0);
      sum += head_dim;
      if (layer.compression > 0) sum += (entry + layer.compression - 1) / layer.compression;
    }
    if (!caches(layers[i])) continue;
    sum += cache_heads(layers[i]) * (cache_key_dim(layers[i]) + cache_value_dim(layers[i]));
  }
  return sum;
}

int64_t ModelConfig::indexers_before(int64_t index) const {
  return std::count_if(layers.begin(), layers.begin() + index,
                       [](const LayerConfig& layer) { return layer.indexer; });
}

int64_t ModelConfig::ngram_layers_before(int64_t index) const {
  return std::count_if(layers.begin(), layers.begin() + index,
                       [](const LayerConfig& layer) { return layer.ngrams; });
}

int64_t ModelConfig::place_in_kind(int64_t index) const {
  const LayerConfig& own = layers[static_cast<size_t>(index)];
  if (own.kv_layer >= 0) index = own.kv_layer;
  return std::count_if(layers.begin(), layers.begin() + index, [&own](const LayerConfig& layer) {
    return layer.mixer == own.mixer && layer.kv_layer < 0;
  });
}

absl::StatusOr<ModelConfig> ParseConfigOf(std::span<const ConfigFamily* const> families,
                                          std::string_view text, std::string_view name_for_errors) {
  FM_ASSIGN_OR_RETURN(const json root, ParseConfigJson(text, name_for_errors));
  const ConfigReader file(root, fmt::format("{}: key '", name_for_errors));
  FM_ASSIGN_OR_RETURN(const ConfigFamily* family, FamilyOf(families, file, name_for_errors));
  FM_ASSIGN_OR_RETURN(const json object, KeysInOneObject(file, *family));
  const ConfigReader keys(object, fmt::format("{}{}", file.prefix(), ObjectOfKeys(file, *family)),
                          family->aliases);
  const ConfigSource source{keys, *family};
  FM_RETURN_IF_ERROR(CheckKeys(source));

  ModelConfig config;
  config.architecture = family->architecture;
  config.model_type = family->model_type;
  FM_RETURN_IF_ERROR(ReadSizes(source, config));
  FM_RETURN_IF_ERROR(ReadHeads(source, config));
  FM_RETURN_IF_ERROR(ReadBiases(source, config));
  FM_RETURN_IF_ERROR(ReadActivation(source, config));
  FM_RETURN_IF_ERROR(ReadDType(source, config));
  FM_RETURN_IF_ERROR(ReadMoe(source, config));
  FM_RETURN_IF_ERROR(ReadWindows(source, config));
  FM_ASSIGN_OR_RETURN(config.tied_embeddings,
                      keys.Bool("tie_word_embeddings", family->tied_embeddings));
  FM_ASSIGN_OR_RETURN(const double eps, keys.Number("rms_norm_eps", family->rms_norm_eps, 0.0));
  config.rms_norm_eps = static_cast<float>(eps);
  config.norm = family->norm;
  config.norm_bias = family->norm_bias;
  FM_RETURN_IF_ERROR(ReadRope(source, config));
  FM_RETURN_IF_ERROR(ReadWeightFormat(keys, config));
  FM_ASSIGN_OR_RETURN(config.eos_ids, ReadEos(keys));
  if (!keys.Has("eos_token_id") && family->eos >= 0) {
    config.eos_ids = {static_cast<int32_t>(family->eos)};
  }
  if (family->read != nullptr) FM_RETURN_IF_ERROR(family->read(source, config));
  return config;
}

absl::StatusOr<std::optional<std::vector<int32_t>>> ParseEndTokens(
    std::string_view text, std::string_view name_for_errors) {
  FM_ASSIGN_OR_RETURN(const json generation, ParseConfigJson(text, name_for_errors));
  const ConfigReader keys(generation, fmt::format("{}: key '", name_for_errors));
  if (!keys.HasValue("eos_token_id")) return std::nullopt;
  return ReadEos(keys);
}

}  // namespace folkmoot
