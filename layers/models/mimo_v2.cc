// SPDX-License-Identifier: Apache-2.0
// MiMo-V2-Flash (Xiaomi 2025): layers with a window have heads of keys and rotations of their own,
// and a learned logit of each head; values are shorter than keys and scaled; experts chosen by
// biased sigmoid scores. Layers for multi-token prediction are not used. Files are written with the
// authors' keys or with those of Transformers.
#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"n_group",
                                         "topk_group",
                                         "routed_scaling_factor",
                                         "mlp_layer_types",
                                         "moe_layer_freq",
                                         "hybrid_layer_pattern",
                                         "sliding_window",
                                         "sliding_window_size",
                                         "attention_chunk_size",
                                         "v_head_dim",
                                         "attention_value_scale",
                                         "attention_bias",
                                         "partial_rotary_factor",
                                         "swa_rope_theta",
                                         "swa_num_attention_heads",
                                         "swa_num_key_value_heads",
                                         "swa_head_dim",
                                         "swa_v_head_dim",
                                         "add_swa_attention_sink_bias",
                                         "add_full_attention_sink_bias",
                                         "num_nextn_predict_layers",
                                         "hidden_dropout"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"},
                                 {"rms_norm_eps", "layernorm_epsilon", true}};
constexpr FixedKey kFixed[] = {{"scoring_func", "\"sigmoid\""},
                               {"topk_method", "\"noaux_tc\""},
                               {"n_shared_experts", "0"},
                               {"use_qk_norm", "false"},
                               {"hybrid_block_size", "null"}};
constexpr std::string_view kUnused[] = {"model.mtp."};
constexpr int64_t kWindow = 129;
constexpr IntRange kFlag = {0, 1};
constexpr IntRange kSizes = {1, 1 << 16};

// The authors' sliding_window_size tokens before the last one; Transformers' sliding_window counts
// that one, too, but in the authors' files, where it is the same number. attention_chunk_size is
// read by nobody.
absl::Status ReadWindowSize(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto before, keys.OptionalInt("sliding_window_size", {1, 1 << 30}));
  FM_ASSIGN_OR_RETURN(int64_t window, keys.Int("sliding_window", kWindow));
  if (before) {
    if (keys.HasValue("sliding_window") && window != *before && window != *before + 1) {
      return keys.Wrong("sliding_window_size",
                        fmt::format("it contradicts sliding_window = {}", window));
    }
    window = *before + 1;
  }
  FM_ASSIGN_OR_RETURN(const auto chunk, keys.OptionalInt("attention_chunk_size"));
  if (chunk && *chunk != window && *chunk != window - 1) {
    return keys.Wrong("attention_chunk_size",
                      fmt::format("it contradicts a window of {}, which counts", window));
  }
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window > 0) layer.sliding_window = window;
  }
  return absl::OkStatus();
}

absl::Status ReadWindows(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto pattern,
                      ReadLayerInts(keys, "hybrid_layer_pattern", kFlag, config));
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, kWindow,
      [&](size_t i) { return pattern.empty() ? i != 0 && (i + 1) % 6 != 0 : pattern[i] == 1; },
      config));
  FM_RETURN_IF_ERROR(ReadWindowSize(keys, config));
  for (size_t i = 0; i < pattern.size(); ++i) {
    if ((config.layers[i].sliding_window > 0) == (pattern[i] == 1)) continue;
    return keys.Wrong("hybrid_layer_pattern",
                      fmt::format("it contradicts layer_types at layer {}", i));
  }
  return absl::OkStatus();
}

// Of layers with a window, where they differ.
absl::Status ReadWindowHeads(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kHeads = "swa_num_attention_heads";
  constexpr const char* kKvHeads = "swa_num_key_value_heads";
  FM_ASSIGN_OR_RETURN(const int64_t heads, keys.Int(kHeads, config.heads, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t kv_heads, keys.Int(kKvHeads, 2 * config.kv_heads, kSizes));
  FM_ASSIGN_OR_RETURN(const bool sinks, keys.Bool("add_swa_attention_sink_bias", true));
  FM_ASSIGN_OR_RETURN(const bool full_sinks, keys.Bool("add_full_attention_sink_bias", false));
  for (LayerConfig& layer : config.layers) {
    layer.sinks = layer.sliding_window > 0 ? sinks : full_sinks;
    if (layer.sliding_window == 0) continue;
    layer.kv_heads = kv_heads;
    FM_RETURN_IF_ERROR(SetHeads(keys, keys.Has(kHeads) ? kHeads : kKvHeads, heads, config, layer));
  }
  FM_ASSIGN_OR_RETURN(config.value_head_dim, keys.Int("v_head_dim", 128, kSizes));
  const std::pair<const char*, int64_t> same[] = {{"swa_head_dim", config.head_dim},
                                                  {"swa_v_head_dim", config.value_head_dim}};
  for (const auto& [key, size] : same) {
    FM_ASSIGN_OR_RETURN(const auto other, keys.OptionalInt(key));
    if (!other || *other == size) continue;
    return keys.Wrong(
        key, fmt::format("heads of other layers have {}, and all must have as many", size));
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  config.layers.front().moe = false;  // where no key says anything
  FM_ASSIGN_OR_RETURN(const auto listed, ReadLayerInts(keys, "moe_layer_freq", kFlag, config));
  for (size_t i = 0; i < listed.size(); ++i) config.layers[i].moe = listed[i] == 1;
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  for (size_t i = 0; i < listed.size(); ++i) {
    if (config.layers[i].moe == (listed[i] == 1)) continue;
    return keys.Wrong("moe_layer_freq",
                      fmt::format("it contradicts mlp_layer_types at layer {}", i));
  }
  config.moe.selection_bias = true;
  FM_RETURN_IF_ERROR(ReadGroups(keys, {}, config.moe));
  FM_ASSIGN_OR_RETURN(const auto scaling, keys.OptionalNumber("routed_scaling_factor", 0.0));
  config.moe.routed_scaling = scaling.value_or(1.0);
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadWindows(keys, config));
  FM_RETURN_IF_ERROR(ReadWindowHeads(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_ASSIGN_OR_RETURN(config.qkv_bias, keys.Bool("attention_bias", false));
  FM_ASSIGN_OR_RETURN(const float scale, keys.FloatOrNull("attention_value_scale", 0.707f, 0.0));
  if (scale > 0) config.value_multiplier = scale;
  constexpr std::string_view kOlder[] = {"rope_theta", "rope_scaling", "swa_rope_theta"};
  OlderRopeKeys full = {.theta = 5e6, .partial = 0.334};
  OlderRopeKeys local = {.theta = 1e4, .partial = 0.334};
  if (keys.HasValue("rope_theta")) full.keys["rope_theta"] = *keys.Find("rope_theta");
  if (keys.HasValue("swa_rope_theta")) local.keys["rope_theta"] = *keys.Find("swa_rope_theta");
  if (keys.HasValue("rope_scaling")) {
    full.keys["rope_scaling"] = local.keys["rope_scaling"] = *keys.Find("rope_scaling");
  }
  return ReadLayerRopes(keys, kOlder, full, local, config);
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention.sinks = prefix + "self_attn.attention_sink_bias";
  return names;
}

}  // namespace

const Family kMimoV2Flash = {
    .config = {.architecture = "MiMoV2FlashForCausalLM",
               .model_type = "mimo_v2_flash",
               .vocab = 152576,
               .hidden = 4096,
               .intermediate = 16384,
               .layers = 48,
               .heads = 64,
               .kv_heads = 4,
               .max_positions = 131072,
               .head_dim = 192,
               .rms_norm_eps = 1e-5,
               .own_rope = true,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
    .unused = kUnused,
};

}  // namespace folkmoot
