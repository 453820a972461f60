// SPDX-License-Identifier: Apache-2.0
#include "layers/models/deepseek_parts.h"

#include <algorithm>
#include <cmath>

#include "runtime/rope.h"

namespace folkmoot {
namespace {

constexpr IntRange kDims = {1, 1 << 16};

}  // namespace

absl::Status ReadLatent(const ConfigSource& source, const LatentDefaults& defaults,
                        ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatentDims(source, defaults, config));
  return SetLatentScale(source.keys, config);
}

absl::Status ReadLatentDims(const ConfigSource& source, const LatentDefaults& defaults,
                            ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  LatentConfig& latent = config.latent;
  FM_ASSIGN_OR_RETURN(latent.q_rank, keys.IntOrNull("q_lora_rank", defaults.q_rank, kDims));
  FM_ASSIGN_OR_RETURN(latent.kv_rank, keys.Int("kv_lora_rank", defaults.kv_rank, kDims));
  FM_ASSIGN_OR_RETURN(latent.nope_dim, keys.Int("qk_nope_head_dim", defaults.nope_dim, kDims));
  const int64_t turning = source.family.latent_rope_dim;  // 0: in no file of the family
  FM_ASSIGN_OR_RETURN(latent.rope_dim, keys.Int("qk_rope_head_dim", turning,
                                                {std::min<int64_t>(turning, 1), kDims.max}));
  FM_ASSIGN_OR_RETURN(latent.value_dim, keys.Int("v_head_dim", defaults.value_dim, kDims));
  const int64_t named = latent.rope_dim + (defaults.whole_head_dim ? latent.nope_dim : 0);
  const bool harmless =
      defaults.any_head_dim || (defaults.nope_head_dim && config.head_dim == latent.nope_dim);
  if (keys.Has("head_dim") && config.head_dim != named && !harmless) {
    return keys.Wrong("head_dim",
                      fmt::format("where it is given it must be {}qk_rope_head_dim = {}",
                                  defaults.whole_head_dim ? "qk_nope_head_dim + " : "", named));
  }
  if (defaults.any_kv_heads) config.kv_heads = config.heads;
  if (config.kv_heads != config.heads) {
    return keys.Wrong(
        "num_key_value_heads",
        fmt::format("latent attention has as many as num_attention_heads = {}", config.heads));
  }
  config.head_dim = latent.nope_dim + latent.rope_dim;
  FM_ASSIGN_OR_RETURN(const auto whole, keys.OptionalInt("qk_head_dim", kDims));
  if (whole && *whole != config.head_dim) {
    return keys.Wrong("qk_head_dim", fmt::format("where it is given it must be {}, the numbers of "
                                                 "a head that turn and that do not",
                                                 config.head_dim));
  }
  return absl::OkStatus();
}

absl::Status SetLatentScale(const ConfigReader& keys, ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  if (rope.mscale.value_or(1.0) != 1.0 && rope.mscale_all_dim.value_or(0.0) == 0.0) {
    return InvalidArgument(
        "{}rope_scaling.mscale' is {} without mscale_all_dim: the authors' code and others differ; "
        "give both",
        keys.prefix(), *rope.mscale);
  }
  config.output_bias = config.qkv_bias;
  const double mscale = YarnMscale(config.rope.factor, config.rope.mscale_all_dim.value_or(0.0));
  config.attention_multiplier =
      static_cast<float>(mscale * mscale / std::sqrt(static_cast<double>(config.head_dim)));
  return absl::OkStatus();
}

absl::Status ReadGroups(const ConfigReader& keys, const GroupDefaults& defaults, MoeConfig& moe) {
  const IntRange range = {1, moe.experts};
  FM_ASSIGN_OR_RETURN(moe.groups, keys.Int("n_group", defaults.groups, range));
  FM_ASSIGN_OR_RETURN(moe.chosen_groups, keys.Int("topk_group", defaults.chosen, range));
  const int64_t size = moe.experts / moe.groups;
  if (moe.experts % moe.groups != 0 || (moe.groups > 1 && size < defaults.smallest)) {
    return keys.Wrong("n_group", fmt::format("it must divide {} experts into groups of at least {}",
                                             moe.experts, defaults.smallest));
  }
  if (moe.chosen_groups > moe.groups || moe.chosen_groups * size < moe.top_k) {
    return keys.Wrong("topk_group", fmt::format("of {} groups of {} experts so many must hold the "
                                                "{} that a token gets",
                                                moe.groups, size, moe.top_k));
  }
  return absl::OkStatus();
}

absl::Status ReadScaledAndShared(const ConfigReader& keys, double scaling, int64_t shared,
                                 MoeConfig& moe) {
  FM_ASSIGN_OR_RETURN(moe.routed_scaling, keys.Number("routed_scaling_factor", scaling, 0.0));
  FM_ASSIGN_OR_RETURN(const int64_t count,
                      keys.IntOrNull("n_shared_experts", shared, {0, 1 << 10}));
  moe.shared_intermediate = count * moe.intermediate;
  return absl::OkStatus();
}

absl::Status ReadGreedyExperts(const ConfigReader& keys, MoeConfig& moe) {
  if (moe.top_k == 0) {
    return keys.Wrong("num_experts_per_tok", "this architecture has no default for it");
  }
  FM_ASSIGN_OR_RETURN(const auto method, keys.OptionalString("topk_method"));
  const bool grouped = method == "group_limited_greedy";
  if (!grouped && method.value_or("greedy") != "greedy") {
    return keys.Wrong("topk_method", "known: greedy, group_limited_greedy");
  }
  if (grouped && !(keys.HasValue("n_group") && keys.HasValue("topk_group"))) {
    return keys.Wrong("topk_method", "it needs n_group and topk_group");
  }
  // Without groups their keys are not read, whatever they say.
  if (grouped) FM_RETURN_IF_ERROR(ReadGroups(keys, {.smallest = 1}, moe));
  return ReadScaledAndShared(keys, 1.0, 2, moe);
}

absl::Status ReadBiasedExperts(const ConfigReader& keys, const GroupDefaults& groups,
                               double scaling, int64_t shared, MoeConfig& moe) {
  moe.selection_bias = true;
  FM_RETURN_IF_ERROR(ReadGroups(keys, groups, moe));
  return ReadScaledAndShared(keys, scaling, shared, moe);
}

absl::Status ReadMlpLayerTypes(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kTypes = "mlp_layer_types";
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kTypes));
  if (keys.HasValue(kTypes) && types.size() != config.layers.size()) {
    return keys.WrongLength(kTypes, config.layers.size());
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "sparse" && types[i] != "dense") {
      return keys.Wrong(kTypes, fmt::format("entry {} is '{}'; known: sparse, dense", i, types[i]));
    }
    config.layers[i].moe = types[i] == "sparse";
  }
  FM_ASSIGN_OR_RETURN(const auto dense, keys.OptionalInt("first_k_dense_replace", {0, INT32_MAX}));
  if (!dense || keys.HasValue(kTypes)) return absl::OkStatus();
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (config.layers[i].moe == (static_cast<int64_t>(i) >= *dense)) continue;
    return keys.Wrong("first_k_dense_replace",
                      fmt::format("layer {} is of the other kind; give mlp_layer_types", i));
  }
  return absl::OkStatus();
}

absl::Status KeepExperts(const ConfigReader& keys, std::string_view key,
                         const std::function<bool(size_t layer)>& has, ModelConfig& config) {
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (!config.layers[i].moe || has(i)) continue;
    if (keys.HasValue("mlp_layer_types")) {
      return keys.Wrong(key, fmt::format("it contradicts mlp_layer_types at layer {}", i));
    }
    config.layers[i].moe = false;
  }
  return absl::OkStatus();
}

GateConfig GreedyGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.n_group = static_cast<int>(config.moe.groups);
  gate.topk_group = static_cast<int>(config.moe.chosen_groups);
  gate.normalize = Normalize::kNone;
  if (!config.moe.norm_topk_prob || config.moe.top_k == 1) return gate;
  gate.normalize = Normalize::kBeforeDrop;
  gate.norm_eps = 1e-20;
  gate.scale = 1.0;
  return gate;
}

GateConfig BiasedSigmoidGate(const ModelConfig& config) {
  GateConfig gate = GroupedSoftmaxGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  return gate;
}

GateConfig GroupedSoftmaxGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.n_group = static_cast<int>(config.moe.groups);
  gate.topk_group = static_cast<int>(config.moe.chosen_groups);
  gate.group_score = GroupScore::kSumTop2;
  gate.norm_eps = 1e-20;
  return gate;
}

}  // namespace folkmoot
