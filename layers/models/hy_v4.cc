// SPDX-License-Identifier: Apache-2.0
// Hunyuan 4 (Tencent 2026): the sparse latent attention of DeepSeek-V3.2 with GLM-5's layers that
// take keys over, sinks, and a gate for each number that heads give; a residual of several streams,
// each by itself (layers/hyper_connection.h); biased sigmoid scores choose experts whose gate and
// up are limited, beside a shared expert whose are not. Of Hy4 that looks at pictures the text
// model is run, in which neighbours turn and the three sections of a position are equal. The layers
// for multi-token prediction are not used.
#include "layers/hyper_connection.h"
#include "layers/models/deepseek_parts.h"
#include "layers/models/sparse_parts.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr const char* kIndexers = "indexer_types";

constexpr std::string_view kOwnKeys[] = {
    "n_group", "topk_group", "routed_scaling_factor", "n_shared_experts", "index_topk",
    "index_n_heads", "index_head_dim", "mlp_layer_types", kIndexers, "hc_mult", "hc_magnitude",
    "hc_eps", "swiglu_limit", "num_nextn_predict_layers",
    // Of training, and that the head is computed in float32, as everything here is.
    "learnable_sink_init", "mtp_loss_factor", "bitwise_backward_align", "enable_lm_head_fp32"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
// Transformers computes with these whatever a file says.
constexpr FixedKey kFixed[] = {{"enable_ihc", "true"},
                               {"gated_mla", "true"},
                               {"learnable_sink", "true"},
                               {"use_dsa", "true"},
                               {"use_mla", "true"},
                               {"gating_type", "\"elementwise\""},
                               {"scoring_func", "\"sigmoid\""}};
constexpr std::string_view kUnused[] = {"model.mtp_layers."};
constexpr std::string_view kBesideText[] = {"vision_config", "image_token_id", "video_token_id"};
constexpr std::string_view kNotText[] = {"model.mtp_layers.", "model.language_model.mtp_layers.",
                                         "model.vision_tower.", "vit."};

absl::Status ReadIndexers(const ConfigReader& keys, int64_t heads, ModelConfig& config) {
  config.indexer.turns_last = true;
  config.indexer.norm_eps = config.rms_norm_eps;
  FM_RETURN_IF_ERROR(ReadIndexer(keys, heads, config));
  FM_RETURN_IF_ERROR(ReadSparseLayerTypes(keys, config));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].indexer = i == 0 || i % 4 == 1;
  }
  if (!keys.HasValue(kIndexers)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto types, keys.Strings(kIndexers));
  FM_RETURN_IF_ERROR(ApplyIndexerTypes(keys, kIndexers, types, config));
  return CheckFirstIndexer(keys, kIndexers, config);
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.827, 1, config.moe));
  config.layers.front().moe = false;  // where mlp_layer_types is absent
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  if (config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "limits of gate and up are known for silu only");
  }
  constexpr const char* kLimit = "swiglu_limit";
  constexpr double kAny = -1e30;
  FM_ASSIGN_OR_RETURN(const float limit, keys.Float(kLimit, 10.0f, kAny));
  if (limit <= 0) {
    return keys.Wrong(kLimit,
                      "it must be above 0: as documented another means no limit, but what "
                      "Transformers computes with one is limited all the same");
  }
  config.activation = Activation::kCappedSwiglu;
  for (LayerConfig& layer : config.layers) layer.expert_limit = limit;
  return absl::OkStatus();
}

constexpr LatentDefaults kLatents = {
    .nope_dim = 192, .value_dim = 256, .any_head_dim = true, .any_kv_heads = true};

// Behind config.latent; `index_heads` where index_n_heads is absent.
absl::Status ReadLayers(const ConfigReader& keys, int64_t index_heads, ModelConfig& config) {
  config.attention_gate = AttentionGate::kOwn;
  for (LayerConfig& layer : config.layers) layer.sinks = true;
  FM_RETURN_IF_ERROR(ReadIndexers(keys, index_heads, config));
  HyperConfig& hyper = config.hyper;
  hyper.independent = true;
  FM_ASSIGN_OR_RETURN(hyper.streams, keys.Int("hc_mult", 4, {1, kMostStreams}));
  FM_ASSIGN_OR_RETURN(hyper.magnitude, keys.Number("hc_magnitude", 2.0, kBelowZero));
  FM_ASSIGN_OR_RETURN(hyper.eps, keys.Number("hc_eps", 1e-6, kBelowZero));
  return ReadExperts(keys, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatent(source, kLatents, config));
  return ReadLayers(source.keys, 16, config);
}

absl::Status ReadMultimodal(const ConfigSource& source, ModelConfig& config) {
  LatentDefaults latents = kLatents;
  latents.q_rank = 2048;
  FM_RETURN_IF_ERROR(ReadLatentDims(source, latents, config));
  config.latent.norm_eps = config.rms_norm_eps;
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(source.keys, {.dim = config.latent.rope_dim,
                                                           .max_positions = config.max_positions,
                                                           .sections = true}));
  config.rope.neighbours = true;
  config.indexer.neighbours = true;
  FM_RETURN_IF_ERROR(SetLatentScale(source.keys, config));
  return ReadLayers(source.keys, 32, config);
}

HyperNames Streams(const std::string& stem) {
  return {.weights = stem + "fn", .base = stem + "base", .scale = stem + "scale"};
}

LayerNames PublishedLayerNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention.gate = prefix + "self_attn.linear_gate";
  names.attention.sinks = prefix + "self_attn.learnable_sink_param";
  names.attention_streams = Streams(prefix + "hc_attn_layer.hc_pre.hc_");
  names.ffn_streams = Streams(prefix + "hc_mlp_layer.hc_pre.hc_");
  return names;
}

EndNames PublishedEndNames() {
  EndNames names = UsualEndNames();
  names.streams = Streams("model.hc_head.hc_head_");
  return names;
}

// What Transformers makes of the published names.
LayerNames ModuleLayerNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_streams = Streams(prefix + "attn_hc.");
  names.ffn_streams = Streams(prefix + "ffn_hc.");
  return names;
}

EndNames ModuleEndNames() {
  EndNames names = UsualEndNames();
  names.streams = Streams("model.hc_head.hc_");
  return names;
}

// And what it writes, which goes back to more than was there: every gate is a linear_gate, and what
// was behind hc_ stands in front of it.
LayerNames SavedLayerNames(const std::string& prefix) {
  LayerNames names = PublishedLayerNames(prefix);
  names.attention_streams = Streams(prefix + "hc_pre.hc_attn_layer.hc_");
  names.ffn_streams = Streams(prefix + "hc_pre.hc_mlp_layer.hc_");
  names.dense_prefix.clear();
  names.dense_gate = prefix + "mlp.linear_gate";
  names.dense_up = prefix + "mlp.up_proj";
  names.dense_down = prefix + "mlp.down_proj";
  names.moe.experts.gate = "linear_gate.weight";
  names.moe.shared_as_experts = true;
  return names;
}

EndNames SavedEndNames() {
  EndNames names = UsualEndNames();
  names.streams = Streams("model.hc_pre.hc_head.hc_head_");
  return names;
}

constexpr OtherNames kOtherNames[] = {{.tensor = "model.hc_head.hc_fn",
                                       .layers = "model.layers.",
                                       .layer_names = ModuleLayerNames,
                                       .end_names = ModuleEndNames},
                                      {.tensor = "model.hc_pre.hc_head.hc_head_fn",
                                       .layers = "model.layers.",
                                       .layer_names = SavedLayerNames,
                                       .end_names = SavedEndNames}};

// The text model inside of the multimodal one, in the names of Transformers.
EndNames InnerEndNames() {
  EndNames names = InnerLanguageModelEndNames();
  names.streams = Streams("model.language_model.hc_head.hc_");
  return names;
}

// What it writes of that, which is not quite what it writes of the text model by itself.
EndNames SavedMultimodalEndNames() {
  EndNames names = UsualEndNames();
  names.streams = Streams("model.hc_head.hc_pre.hc_head_");
  return names;
}

constexpr OtherNames kOtherMultimodalNames[] = {{.tensor = "model.language_model.hc_head.hc_fn",
                                                 .layers = "model.language_model.layers.",
                                                 .layer_names = ModuleLayerNames,
                                                 .end_names = InnerEndNames},
                                                {.tensor = "model.hc_head.hc_pre.hc_head_fn",
                                                 .layers = "model.layers.",
                                                 .layer_names = SavedLayerNames,
                                                 .end_names = SavedMultimodalEndNames}};

constexpr ConfigFamily kText = {.architecture = "HYV4ForCausalLM",
                                .model_type = "hy_v4",
                                .vocab = 120832,
                                .hidden = 2816,
                                .intermediate = 6912,
                                .layers = 34,
                                .heads = 32,
                                .max_positions = 262144,
                                .head_dim = 256,
                                .rms_norm_eps = 1e-5,
                                .latent_rope_dim = 64,
                                .eos = 120025,
                                .bias = BiasRule::kAttentionKey,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .experts = 256,
                                .top_k = 8,
                                .moe_intermediate = 768,
                                .dense = DenseRule::kOwn,
                                .local_experts_alias = true,
                                .norm_topk_key = true,
                                .norm_topk = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "HYV4VLForConditionalGeneration";
  config.model_type = "hy_v4_vl";
  config.text_model_type = "hy_v4_vl_text";
  config.beside_text = kBesideText;
  config.hidden = 6144;
  config.intermediate = 18432;
  config.layers = 78;
  config.heads = 64;
  config.moe_intermediate = 2048;
  config.own_rope = true;
  config.read = ReadMultimodal;
  return config;
}

}  // namespace

const Family kHyV4 = {
    .config = kText,
    .layer_names = PublishedLayerNames,
    .end_names = PublishedEndNames,
    .other_names = kOtherNames,
    .gate = BiasedSigmoidGate,
    .unused = kUnused,
};

const Family kHyV4Multimodal = {
    .config = MultimodalConfig(),
    .layer_names = PublishedLayerNames,
    .end_names = PublishedEndNames,
    .other_names = kOtherMultimodalNames,
    .gate = BiasedSigmoidGate,
    .unused = kNotText,
};

}  // namespace folkmoot
