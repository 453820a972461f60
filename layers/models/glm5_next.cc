// SPDX-License-Identifier: Apache-2.0
// GLM-5.3-Flash (Z.ai 2026): most layers are Kimi's linear attention, whose decays have a bound
// (layers/kimi_delta_attention.h), every fourth has the sparse latent attention of GLM-5, which
// does not rotate and sees pools of tokens (layers/lightning_indexer.h). The residual is several
// streams, as in DeepSeek-V4, whose mean the head reads; gate and up of all networks are limited.
// Files have the authors' keys or those of Transformers. What looks at pictures and the layer for
// multi-token prediction are not used.
#include <array>

#include "layers/hyper_connection.h"
#include "layers/models/deepseek_parts.h"
#include "layers/models/kimi_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/sparse_parts.h"

namespace folkmoot {
namespace {

constexpr const char* kLayerTypes = "layer_types";
constexpr const char* kBound = "linear_lower_bound";
constexpr const char* kAuthorsBound = "linear_attn_config.gate_lower_bound";
constexpr const char* kSafe = "linear_attn_config.safe_gate";
constexpr const char* kFullLayers = "linear_attn_config.full_attn_layers";
constexpr const char* kLinearLayers = "linear_attn_config.kda_layers";

constexpr std::string_view kOwnKeys[] = {
    "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim", "n_group", "topk_group",
    "routed_scaling_factor", "n_shared_experts", "mlp_layer_types", "first_k_dense_replace",
    "index_topk", "index_n_heads", "index_head_dim", "index_kpool",
    "index_kpool_always_select_tail", kIndexerTypes, kIndexerPattern, kIndexerEvery, kIndexerOffset,
    "linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim", kBound,
    "linear_attn_config.head_dim", "linear_attn_config.num_heads",
    "linear_attn_config.short_conv_kernel_size", kAuthorsBound, kSafe, kFullLayers, kLinearLayers,
    "hc_mult", "hc_sinkhorn_iters", "hc_eps", "swiglu_limit",
    // Nobody reads the first; nothing rotates; the layer for multi-token prediction is not used.
    "head_dim", "rope_interleave", "indexer_rope_interleave", "num_nextn_predict_layers",
    "index_share_for_mtp_iteration"};
// What others call head_dim is the width of q and k here.
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}, {"head_dim", "qk_head_dim"}};
constexpr FixedKey kFixed[] = {{"qk_rope_head_dim", "0"},       {"mhc", "true"},
                               {"mla_use_nope", "true"},        {"index_kpool_compress", "true"},
                               {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""},
                               {"moe_layer_freq", "1"},         {"moe_router_dtype", "\"float32\""},
                               {"rope_scaling", "null"},        {"rope_parameters", "null"}};
constexpr std::string_view kAbsent[] = {"rope_scaling", "rope_parameters",
                                        "original_max_position_embeddings"};
constexpr std::string_view kNested[] = {"linear_attn_config"};
constexpr std::string_view kBesideText[] = {
    "vision_config",      "image_token_id",       "video_token_id",     "image_start_token_id",
    "image_end_token_id", "video_start_token_id", "video_end_token_id", "num_nextn_predict_layers"};
constexpr std::string_view kUnused[] = {"model.language_model.layers.{}.", "model.visual."};

// Layers of a kind that linear_attn_config lists, counted from 0; layer_types decides.
absl::Status CheckList(const ConfigReader& keys, const char* key, Mixer mixer,
                       const ModelConfig& config) {
  const size_t layers = config.layers.size();
  FM_ASSIGN_OR_RETURN(const auto list, keys.Ints(key, {0, static_cast<int64_t>(layers) - 1}));
  std::vector<bool> listed(layers);
  for (const int64_t layer : list) listed[static_cast<size_t>(layer)] = true;
  for (size_t i = 0; keys.HasValue(key) && i < layers; ++i) {
    if (listed[i] == (config.layers[i].mixer == mixer)) continue;
    return keys.Wrong(key, fmt::format("it contradicts {} at layer {}", kLayerTypes, i));
  }
  return absl::OkStatus();
}

absl::Status ReadKinds(const ConfigReader& keys, ModelConfig& config) {
  // All but the first are the same.
  constexpr std::array<std::string_view, 4> kKnown = {"linear_attention", kIndexedBefore, kIndexed,
                                                      "full_attention"};
  std::vector<size_t> kinds;
  for (size_t i = 0; i < config.layers.size(); ++i) kinds.push_back(i % 4 == 3 ? 1 : 0);
  if (keys.HasValue(kLayerTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kLayerTypes, kKnown, config.layers.size()));
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].mixer = kinds[i] == 0 ? Mixer::kRecurrent : Mixer::kAttention;
    config.layers[i].rope = false;
  }
  FM_RETURN_IF_ERROR(CheckList(keys, kFullLayers, Mixer::kAttention, config));
  FM_RETURN_IF_ERROR(CheckList(keys, kLinearLayers, Mixer::kRecurrent, config));
  return CheckAttends(keys, kLayerTypes, config);
}

// Under the authors' key or that of Transformers; null: there is none, or, where safe_gate is true
// or linear_attn_config does not say, that of an absent key.
absl::Status ReadDecayBound(const ConfigReader& keys, RecurrentConfig& linear) {
  constexpr float kUsual = -5.0f;
  constexpr double kAny = -1e30;
  const bool authors = keys.Has(kAuthorsBound);
  const char* const key = authors ? kAuthorsBound : kBound;
  if (authors && keys.Has(kBound) && *keys.Find(kAuthorsBound) != *keys.Find(kBound)) {
    return keys.Wrong(kAuthorsBound, fmt::format("it contradicts {}", kBound));
  }
  FM_ASSIGN_OR_RETURN(linear.decay_bound, keys.FloatOrNull(key, kUsual, kAny));
  if (keys.HasValue(key) && linear.decay_bound >= 0) {
    return keys.Wrong(key, "it must be below 0: it bounds the logarithms of decays; or null: none");
  }
  bool nested = false;
  for (const auto& [name, value] : keys.object().items()) {
    nested = nested || name.starts_with("linear_attn_config.");
  }
  FM_ASSIGN_OR_RETURN(const bool safe, keys.Bool(kSafe, nested));
  if (keys.Has(kSafe) && !safe && linear.decay_bound != 0) {
    return keys.Wrong(kSafe, fmt::format("without a bound {} must be null", key));
  }
  if (safe && linear.decay_bound == 0) linear.decay_bound = kUsual;
  return absl::OkStatus();
}

absl::Status ReadIndexers(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kPool = "index_kpool";
  constexpr const char* kTail = "index_kpool_always_select_tail";
  IndexerConfig& indexer = config.indexer;
  FM_RETURN_IF_ERROR(ReadIndexer(keys, 32, config));
  FM_ASSIGN_OR_RETURN(indexer.pool, keys.Int(kPool, 16, {1, 1 << 16}));
  if (indexer.top_k % indexer.pool != 0) {
    return keys.Wrong("index_topk", fmt::format("whole pools of {} = {} tokens are chosen: it must "
                                                "be a multiple",
                                                kPool, indexer.pool));
  }
  FM_ASSIGN_OR_RETURN(const bool tail, keys.Bool(kTail, true));
  if (!tail && indexer.pool > 1) {
    return keys.Wrong(kTail, "the first tokens of a sequence would see no keys at all");
  }
  FM_ASSIGN_OR_RETURN(const char* const rule, ReadIndexerTypes(keys, config));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    const bool attends = layer.mixer == Mixer::kAttention;
    layer.indexer = layer.indexer && attends;
    if (!attends || layer.indexer || (i > 0 && config.layers[i - 1].indexer)) continue;
    return keys.Wrong(rule, fmt::format("layer {} takes keys over, and only from a layer right "
                                        "before it that chooses them itself",
                                        i));
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kLimit = "swiglu_limit";
  constexpr size_t kDense = 3;
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.5, 1, config.moe));
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].moe = i >= kDense;
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  config.activation = Activation::kCappedSwiglu;
  constexpr double kAny = -1e30;
  FM_ASSIGN_OR_RETURN(config.swiglu_limit, keys.Float(kLimit, 10.0f, kAny));
  if (config.swiglu_limit > 0) return absl::OkStatus();
  return keys.Wrong(kLimit, "gate and up are limited by it: it must be above 0");
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "limits of gate and up are known for silu only");
  }
  FM_RETURN_IF_ERROR(
      ReadLatent(source, {.nope_dim = 256, .value_dim = 256, .any_head_dim = true}, config));
  config.latent.norm_eps = config.rms_norm_eps;
  FM_RETURN_IF_ERROR(ReadKimiAttention(keys, {.heads = 64}, config));
  FM_RETURN_IF_ERROR(ReadDecayBound(keys, config.recurrent));
  FM_RETURN_IF_ERROR(ReadKinds(keys, config));
  FM_RETURN_IF_ERROR(ReadIndexers(keys, config));
  HyperConfig& hyper = config.hyper;
  hyper.mean_head = true;
  FM_ASSIGN_OR_RETURN(hyper.streams, keys.Int("hc_mult", 4, {1, kMostStreams}));
  FM_ASSIGN_OR_RETURN(hyper.iterations, keys.Int("hc_sinkhorn_iters", 20, {1, 1000}));
  FM_ASSIGN_OR_RETURN(hyper.eps, keys.Number("hc_eps", 1e-6, kBelowZero));
  return ReadExperts(keys, config);
}

HyperNames Streams(const std::string& stem) {
  return {.weights = stem + "fn", .base = stem + "base", .scale = stem + "scale"};
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.recurrent = KimiAttentionNames(prefix + "self_attn.");
  names.attention_streams = Streams(prefix + "hc_attn_");
  names.ffn_streams = Streams(prefix + "hc_ffn_");
  return names;
}

}  // namespace

const Family kGlm5Next = {
    .config = {.architecture = "Glm5NextForConditionalGeneration",
               .model_type = "glm5_next",
               .vocab = 154880,
               .hidden = 4096,
               .intermediate = 12288,
               .layers = 45,
               .heads = 64,
               .kv_heads = 64,
               .max_positions = 1048576,
               .head_dim = 256,
               .rms_norm_eps = 1e-5,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .experts = 288,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .nested = kNested,
               .text_model_type = "glm5_next_text",
               .beside_text = kBesideText,
               .fixed = kFixed,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = InnerLanguageModelEndNames,
    .layers = "model.language_model.layers.",
    .gate = BiasedSigmoidGate,
    .unused = kUnused,
};

}  // namespace folkmoot
