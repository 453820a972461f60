// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_config_layers.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace folkmoot {
namespace {

constexpr IntRange kExperts = {1, 1 << 16};
constexpr IntRange kOptional = {0, kExperts.max};

absl::StatusOr<int64_t> ReadExpertCount(const ConfigSource& source) {
  const ConfigReader& keys = source.keys;
  std::optional<int64_t> count;
  if (!source.family.local_experts_only) {
    FM_ASSIGN_OR_RETURN(count, keys.OptionalInt("num_experts", kExperts));
  }
  if (!source.family.local_experts_alias) return count.value_or(source.family.experts);
  FM_ASSIGN_OR_RETURN(
      const auto alias,
      keys.OptionalInt("num_local_experts", source.family.experts_optional ? kOptional : kExperts));
  if (count && alias && *count != *alias) {
    return keys.Wrong("num_local_experts",
                      fmt::format("it contradicts num_experts = {}; keep one of the two", *count));
  }
  return alias.value_or(count.value_or(source.family.experts));
}

absl::Status ReadDenseLayers(const ConfigSource& source, ModelConfig& config) {
  for (LayerConfig& layer : config.layers) layer.moe = true;
  const auto layers = static_cast<int64_t>(config.layers.size());
  if (source.family.dense == DenseRule::kFirst) {
    FM_ASSIGN_OR_RETURN(
        const int64_t dense,
        source.keys.Int("first_k_dense_replace", source.family.first_dense, {0, INT32_MAX}));
    for (int64_t i = 0; i < std::min(dense, layers); ++i) {
      config.layers[static_cast<size_t>(i)].moe = false;
    }
  }
  if (source.family.dense != DenseRule::kSparseStep) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const int64_t step, source.keys.Int("decoder_sparse_step", 1));
  FM_ASSIGN_OR_RETURN(const auto dense, source.keys.Ints("mlp_only_layers", {0, layers - 1}));
  for (int64_t i = 0; i < layers; ++i) {
    config.layers[static_cast<size_t>(i)].moe =
        (i + 1) % step == 0 && std::find(dense.begin(), dense.end(), i) == dense.end();
  }
  return absl::OkStatus();
}

// Which layers slide by the family's rule, before layer_types is looked at.
absl::StatusOr<std::vector<bool>> SlidingByRule(const ConfigSource& source, int64_t layers,
                                                bool in_use, bool has_window) {
  int64_t first_free = 0;
  if (source.family.window_in_use_key() || source.family.window == WindowRule::kAlwaysFromMax) {
    FM_ASSIGN_OR_RETURN(
        first_free,
        source.keys.Int("max_window_layers", source.family.max_window_layers, {0, INT32_MAX}));
  }
  int64_t pattern = 1;
  const bool listed = source.keys.HasValue("layer_types");  // then it may be "LLLG" (K-EXAONE)
  if (source.family.window == WindowRule::kAllButNth && !listed) {
    FM_ASSIGN_OR_RETURN(pattern,
                        source.keys.Int("sliding_window_pattern", source.family.window_pattern));
  }
  std::vector<bool> sliding(static_cast<size_t>(layers));
  for (int64_t i = 0; i < layers; ++i) {
    bool slides = false;
    switch (source.family.window) {
      case WindowRule::kNone:
      case WindowRule::kOwn:
        break;
      case WindowRule::kAll:  // which is always in use, as kAlwaysFromMax is
      case WindowRule::kAllInUse:
        slides = in_use && has_window;
        break;
      case WindowRule::kFromMaxWindow:
      case WindowRule::kAlwaysFromMax:
        slides = in_use && has_window && i >= first_free;
        break;
      case WindowRule::kEvenBeforeMax:
        slides = in_use && i % 2 == 0 && i < first_free;
        break;
      case WindowRule::kAlternating:
        slides = i % 2 == 0;
        break;
      case WindowRule::kAllButNth:
        slides = (i + 1) % pattern != 0;
        break;
    }
    sliding[static_cast<size_t>(i)] = slides;
  }
  return sliding;
}

absl::Status ApplyLayerTypes(const ConfigSource& source, std::vector<bool>& sliding) {
  if (!source.keys.HasValue("layer_types")) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto types, source.keys.Strings("layer_types"));
  if (types.size() != sliding.size()) {
    return source.keys.WrongLength("layer_types", sliding.size());
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "full_attention" && types[i] != "sliding_attention") {
      return source.keys.Wrong(
          "layer_types",
          fmt::format("entry {} is '{}'; known: full_attention, sliding_attention", i, types[i]));
    }
    const bool slides = types[i] == "sliding_attention";
    if (!source.family.layer_types_rule() && slides != sliding[i]) {
      return source.keys.Wrong(
          "layer_types", fmt::format("entry {} is '{}', but {} decides that by sliding_window: "
                                     "remove layer_types",
                                     i, types[i], source.family.architecture));
    }
    sliding[i] = slides;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadMoe(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const ConfigFamily& family = source.family;
  if (family.experts == 0) return absl::OkStatus();
  MoeConfig& moe = config.moe;
  FM_ASSIGN_OR_RETURN(moe.experts, ReadExpertCount(source));
  if (moe.experts == 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(moe.top_k, keys.Int("num_experts_per_tok", family.top_k, kExperts));
  if (moe.top_k > moe.experts) {
    return keys.Wrong("num_experts_per_tok",
                      fmt::format("{} of {} experts cannot be chosen", moe.top_k, moe.experts));
  }
  moe.norm_topk_prob = true;
  if (family.norm_topk_key) {
    FM_ASSIGN_OR_RETURN(moe.norm_topk_prob, keys.Bool("norm_topk_prob", family.norm_topk));
  }
  moe.intermediate = config.intermediate;
  if (family.moe_intermediate > 0) {
    FM_ASSIGN_OR_RETURN(moe.intermediate,
                        keys.Int("moe_intermediate_size", family.moe_intermediate, kWidthRange));
  }
  if (family.shared_intermediate > 0) {
    FM_ASSIGN_OR_RETURN(moe.shared_intermediate, keys.Int("shared_expert_intermediate_size",
                                                          family.shared_intermediate, kWidthRange));
  }
  return ReadDenseLayers(source, config);
}

absl::Status ReadWindows(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const ConfigFamily& family = source.family;
  if (family.window == WindowRule::kOwn) return absl::OkStatus();
  const auto layers = static_cast<int64_t>(config.layers.size());
  bool in_use = !family.window_in_use_key();
  std::optional<int64_t> window;
  if (family.window != WindowRule::kNone) {
    if (!in_use) {
      FM_ASSIGN_OR_RETURN(in_use, keys.Bool("use_sliding_window", false));
    }
    FM_ASSIGN_OR_RETURN(window, keys.OptionalInt("sliding_window", {0, INT32_MAX}));
    if (!keys.Has("sliding_window") && family.window_size > 0) window = family.window_size;
  }
  FM_ASSIGN_OR_RETURN(auto sliding, SlidingByRule(source, layers, in_use, window.has_value()));
  FM_RETURN_IF_ERROR(ApplyLayerTypes(source, sliding));
  for (size_t i = 0; i < sliding.size(); ++i) {
    if (!sliding[i]) continue;
    if (!in_use) {
      return keys.Wrong("layer_types",
                        fmt::format("layer {} slides, but use_sliding_window is not true", i));
    }
    if (window.value_or(0) < 1) {
      return keys.Wrong("sliding_window",
                        fmt::format("layer {} slides, so it must be at least 1", i));
    }
    config.layers[i].sliding_window = *window;
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
