// SPDX-License-Identifier: Apache-2.0
// Ling 3 (inclusionAI 2026): most layers are Kimi's linear attention, whose gates are made in one
// step and whose decays have a bound (layers/kimi_delta_attention.h), the last of every group has
// latent attention with a gate for each head. Experts are those of DeepSeek-V3; in the last layers
// of Ling-3.0-Flash gate and up are limited, by keys that the authors' inference code reads and
// Transformers 5.24 does not. Files have the authors' keys and names, or what Transformers makes of
// them. Layers for multi-token prediction are not used.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/kimi_parts.h"
#include "layers/models/layer_kinds.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kTypes = "layer_types";
constexpr const char* kGroup = "layer_group_size";
constexpr const char* kSafe = "kda_safe_gate";
constexpr const char* kBound = "kda_lower_bound";
constexpr const char* kKernel = "short_conv_kernel_size";
constexpr const char* kPartial = "partial_rotary_factor";
constexpr const char* kExpertLimits = "expert_swiglu_limit_list";
constexpr const char* kSharedLimits = "share_expert_swiglu_limit_list";

constexpr std::string_view kOwnKeys[] = {
    "n_group", "num_expert_group", "topk_group", "routed_scaling_factor", "n_shared_experts",
    "num_shared_experts", "moe_shared_expert_intermediate_size", "mlp_layer_types",
    "linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim", kKernel, kGroup, kSafe, kBound,
    kExpertLimits, kSharedLimits, "rotary_dim",
    // These change nothing: all of qk_rope_head_dim turns, whatever part of head_dim that is; and
    // keys of training, of windows that there are not and of the layers for multi-token prediction.
    kPartial, "seq_aux", "embedding_dropout", "output_dropout", "max_window_layers",
    "num_mtp_layers", "num_nextn_predict_layers", "mtp_loss_scaling_factor", "mtp_use_kda"};
// Transformers reads a head of its own whatever this says.
constexpr std::string_view kNotUsual[] = {"tie_word_embeddings"};
constexpr FixedKey kFixed[] = {
    {"tie_word_embeddings", "false"},  {"gated_attention_proj_granularity_type", "\"head_wise\""},
    {"linear_attention", "\"kda\""},   {"no_kda_lora", "true"},
    {"use_kda_lora", "false"},         {"linear_silu", "true"},
    {"group_norm_size", "1"},          {"num_kv_heads_for_linear_attn", "0"},
    {"rope_interleave", "true"},       {"use_mla_nope", "false"},
    {"use_qk_norm", "true"},           {"use_bias", "false"},
    {"use_qkv_bias", "false"},         {"use_nGPT", "false"},
    {"up_proj_norm", "false"},         {"value_norm", "false"},
    {"score_function", "\"sigmoid\""}, {"scoring_func", "\"sigmoid\""},
    {"topk_method", "\"noaux_tc\""},   {"router_dtype", "\"fp32\""},
    {"scale_router_input", "false"},   {"moe_router_enable_expert_bias", "true"}};

// By layer_types, or the last of each group; those behind the last whole group the authors give
// latent attention, too, and Transformers linear.
absl::Status ReadKinds(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::array<std::string_view, 2> kKnown = {"full_attention", "linear_attention"};
  const size_t layers = config.layers.size();
  FM_ASSIGN_OR_RETURN(const int64_t group, keys.Int(kGroup, 6));
  const bool typed = keys.HasValue(kTypes);
  std::vector<size_t> kinds;
  if (typed) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKnown, layers));
  } else if (layers % static_cast<size_t>(group) != 0) {
    return keys.Wrong(kGroup, fmt::format("of {} layers some are in no whole group, and the "
                                          "authors' code and others differ on what they are: give "
                                          "layer_types",
                                          layers));
  }
  for (size_t i = 0; i < layers; ++i) {
    const bool full = typed ? kinds[i] == 0 : (i + 1) % static_cast<size_t>(group) == 0;
    config.layers[i].mixer = full ? Mixer::kAttention : Mixer::kRecurrent;
  }
  return CheckAttends(keys, kTypes, config);
}

// The authors' head_dim is that of linear attention; Transformers, which calls it linear_head_dim,
// writes another there.
absl::Status ReadLinear(const ConfigReader& keys, ModelConfig& config) {
  KimiDefaults linear = {.heads = config.heads};
  FM_ASSIGN_OR_RETURN(linear.head_dim, keys.Int("head_dim", linear.head_dim, kKimiHeadDim));
  FM_ASSIGN_OR_RETURN(linear.kernel, keys.Int(kKernel, linear.kernel, kKernelRows));
  FM_RETURN_IF_ERROR(ReadKimiAttention(keys, linear, config));
  if (keys.Has(kKernel) && config.recurrent.kernel != linear.kernel) {
    return keys.Wrong(kKernel, "it contradicts linear_conv_kernel_dim");
  }
  FM_ASSIGN_OR_RETURN(const bool safe, keys.Bool(kSafe, true));
  constexpr double kAny = -1e30;
  FM_ASSIGN_OR_RETURN(const float bound, keys.Float(kBound, -5.0f, kAny));
  if (safe && bound >= 0) {
    return keys.Wrong(kBound, "it must be below 0: it bounds the logarithms of decays");
  }
  if (safe) config.recurrent.decay_bound = bound;
  return absl::OkStatus();
}

absl::Status ReadRotation(const ConfigReader& keys, ModelConfig& config) {
  const int64_t turning = config.latent.rope_dim;
  if (turning % 2 != 0) return keys.Wrong("qk_rope_head_dim", "it must be even");
  FM_ASSIGN_OR_RETURN(const auto named, keys.OptionalInt("rotary_dim"));
  if (named && *named != turning) {
    return keys.Wrong("rotary_dim", fmt::format("qk_rope_head_dim = {} turn, all of them: it must "
                                                "be the same",
                                                turning));
  }
  json object = keys.object();
  for (const char* const key : {"rope_parameters", "rope_scaling"}) {
    const auto rope = object.find(key);
    if (rope != object.end() && rope->is_object()) rope->erase(kPartial);
  }
  FM_ASSIGN_OR_RETURN(
      config.rope,
      ParseRope(ConfigReader(object, keys.prefix(), kKimiAliases),
                {.theta = 6e6, .dim = turning, .max_positions = config.max_positions}));
  config.rope.neighbours = true;
  return absl::OkStatus();
}

// One entry for each layer, perhaps also of those for multi-token prediction; null and 0: no limit.
absl::Status ReadLimits(const ConfigReader& keys, const char* key, float LayerConfig::*limit,
                        ModelConfig& config) {
  if (!keys.HasValue(key)) return absl::OkStatus();
  const json& list = *keys.Find(key);
  if (!list.is_array() || list.size() < config.layers.size()) {
    return keys.WrongLength(key, config.layers.size());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (list[i].is_null() || list[i] == 0) continue;
    if (!list[i].is_number() || list[i].get<double>() < 0) {
      return keys.Wrong(key, fmt::format("entry {} must be a number, at least 0, or null", i));
    }
    if (!config.layers[i].moe) {
      return keys.Wrong(key,
                        fmt::format("layer {} has no experts that entry {} could limit", i, i));
    }
    config.layers[i].*limit = list[i].get<float>();
    if (config.activation == Activation::kSilu) config.activation = Activation::kLimitedSwiglu;
    if (config.activation != Activation::kLimitedSwiglu) {
      return keys.Wrong("hidden_act", fmt::format("{} is known for silu only", key));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kShared = "moe_shared_expert_intermediate_size";
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {.groups = 8, .chosen = 4}, 2.5, 1, config.moe));
  FM_ASSIGN_OR_RETURN(const auto shared, keys.OptionalInt(kShared, kWidthRange));
  if (shared && *shared != config.moe.intermediate) {
    return keys.Wrong(kShared, fmt::format("shared experts are as wide as others: it must be "
                                           "moe_intermediate_size = {}",
                                           config.moe.intermediate));
  }
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadLimits(keys, kExpertLimits, &LayerConfig::expert_limit, config));
  return ReadLimits(keys, kSharedLimits, &LayerConfig::dense_limit, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLinear(keys, config));
  FM_RETURN_IF_ERROR(ReadLatentDims(source, {.q_rank = 0, .any_head_dim = true}, config));
  FM_RETURN_IF_ERROR(ReadRotation(keys, config));
  FM_RETURN_IF_ERROR(SetLatentScale(keys, config));
  config.attention_gate = AttentionGate::kOwn;
  config.gate_per_head = true;
  FM_RETURN_IF_ERROR(ReadKinds(keys, config));
  return ReadExperts(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string mixer = prefix + "attention.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention = UsualAttentionNames(mixer);
  names.attention.gate = mixer + "g_proj";
  names.attention.o = mixer + "dense";
  names.recurrent = KimiAttentionNames(mixer);
  names.recurrent.a_low.clear();
  names.recurrent.z_low.clear();
  names.recurrent.a = mixer + "f_proj";
  names.recurrent.z = mixer + "g_proj";
  names.moe.selection_bias = prefix + "mlp.gate.expert_bias";
  return names;
}

EndNames PublishedEndNames() {
  EndNames names = UsualEndNames();
  names.embedding = "model.word_embeddings.weight";
  return names;
}

// What Transformers writes, which takes the outputs of both kinds of attention for one.
LayerNames SavedNames(const std::string& prefix) {
  LayerNames names = Names(prefix);
  names.recurrent.o = names.attention.o;
  return names;
}

constexpr OtherNames kOtherNames[] = {{.tensor = "model.layers.0.attention.dense.weight",
                                       .layers = "model.layers.",
                                       .layer_names = SavedNames,
                                       .end_names = PublishedEndNames}};

}  // namespace

const Family kBailingHybrid = {
    .config = {.architecture = "BailingHybridForCausalLM",
               .other_architecture = "BailingMoeV3ForCausalLM",
               .model_type = "bailing_hybrid",
               .vocab = 157184,
               .hidden = 2560,
               .intermediate = 6144,
               .layers = 42,
               .heads = 32,
               .max_positions = 262144,
               .head_dim = 128,
               .own_rope = true,
               .latent_rope_dim = 64,
               .eos = 156895,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .experts = 512,
               .top_k = 8,
               .moe_intermediate = 768,
               .dense = DenseRule::kFirst,
               .first_dense = 2,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kKimiAliases,
               .fixed = kFixed,
               .absent_keys = kNotUsual,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = PublishedEndNames,
    .other_names = kOtherNames,
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
