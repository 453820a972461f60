// SPDX-License-Identifier: Apache-2.0
// Inkling (Thinking Machines 2026): no rotations, but scores by distance that each query mixes out
// of learned profiles; windows and heads of their own in most layers; short convolutions of keys,
// values, and what attention and FFN give; experts chosen by biased sigmoid scores beside shared
// ones, which the router weighs too; embeddings that are normalised. Files are written with the
// authors' keys or with those of Transformers; the parts for pictures, sounds and further tokens
// are not used.
#include <algorithm>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr const char* kTypes = "layer_types";
constexpr const char* kLocal = "local_layer_ids";
constexpr const char* kDense = "dense_mlp_idx";

// The last five say nothing about this part of the model.
constexpr std::string_view kOwnKeys[] = {"swa_num_attention_heads",
                                         "swa_num_key_value_heads",
                                         "swa_head_dim",
                                         "v_head_dim",
                                         "swa_v_head_dim",
                                         "sliding_window",
                                         "local_layer_ids",
                                         "d_rel",
                                         "rel_extent",
                                         "log_scaling_n_floor",
                                         "log_scaling_alpha",
                                         "sconv_kernel_size",
                                         "mlp_layer_types",
                                         "dense_mlp_idx",
                                         "dense_intermediate_size",
                                         "n_shared_experts",
                                         "route_scale",
                                         "unpadded_vocab_size",
                                         "embedding_multiplier",
                                         "rms_norm_eps_moe_gate",
                                         "num_mtp_layers",
                                         "mtp_local_layer_ids",
                                         "mtp_hidden_states_first",
                                         "chain_hidden_post_norm"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"},
                                 {"max_position_embeddings", "model_max_length", true},
                                 {"conv_kernel_size", "sconv_kernel_size", true},
                                 {"sliding_window_size", "sliding_window", true},
                                 {"logits_mup_width_multiplier", "embedding_multiplier", true}};
constexpr FixedKey kFixed[] = {{"gate_activation", "\"sigmoid\""},
                               {"inference_moe_w13_interleaved", "true"},
                               {"norm_after_topk", "true"},
                               {"number_of_conv_states", "4"},
                               {"o_bias", "false"},
                               {"q_bias", "false"},
                               {"shared_expert_sink", "true"},
                               {"use_embed_norm", "true"},
                               {"use_gate_bias", "true"},
                               {"use_global_scale", "true"},
                               {"use_sconv", "true"}};
constexpr std::string_view kAbsent[] = {"original_max_position_embeddings", "rope_parameters",
                                        "rope_scaling", "rope_theta"};
constexpr std::string_view kBesideText[] = {
    "audio_bos_token_id", "audio_config", "audio_token_id", "image_bos_token_id",
    "image_token_id",     "mtp_config",   "vision_config"};
constexpr std::string_view kNotText[] = {"model.audio.", "model.audio_tower.", "model.mtp.",
                                         "model.visual.", "model.vision_tower."};
constexpr std::string_view kUnused[] = {"model.mtp."};

absl::Status ReadWindows(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kKinds[] = {"hybrid", "hybrid_sliding"};
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t window, keys.Int("sliding_window_size", 512));
  FM_ASSIGN_OR_RETURN(const auto local, keys.Ints(kLocal, {0, layers - 1}));
  const auto listed = [&](int64_t i) {
    if (!keys.HasValue(kLocal)) return (i + 1) % 6 != 0;
    return std::find(local.begin(), local.end(), i) != local.end();
  };
  std::vector<size_t> kinds;
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKinds, config.layers.size()));
  }
  for (int64_t i = 0; i < layers; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool slides = kinds.empty() ? listed(i) : kinds[at] == 1;
    if (keys.HasValue(kLocal) && slides != listed(i)) {
      return keys.Wrong(kLocal, fmt::format("it contradicts {} at layer {}", kTypes, i));
    }
    if (slides) config.layers[at].sliding_window = window;
  }
  return absl::OkStatus();
}

// Of layers with a window, where they differ. q and k of length one, whatever their weights, make
// scores that are divided by the size of a head, not by its root.
absl::Status ReadHeads(const ConfigReader& keys, ModelConfig& config) {
  const WindowHeads absent = {.heads = 64, .kv_heads = 16, .head_dim = 128};
  FM_RETURN_IF_ERROR(ReadWindowHeads(keys, absent, config));
  FM_ASSIGN_OR_RETURN(const int64_t head_dim, keys.Int("swa_head_dim", absent.head_dim));
  for (LayerConfig& layer : config.layers) {
    layer.rope = false;
    layer.score_scale = 1.0f / static_cast<float>(config.head_dim_of(layer));
  }
  const std::pair<const char*, int64_t> same[] = {{"v_head_dim", config.head_dim},
                                                  {"swa_v_head_dim", head_dim}};
  for (const auto& [key, size] : same) {
    FM_ASSIGN_OR_RETURN(const auto values, keys.OptionalInt(key));
    if (!values || *values == size) continue;
    return keys.Wrong(key, fmt::format("keys of these heads have {}, and values must too", size));
  }
  return absl::OkStatus();
}

absl::Status ReadScores(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.relative.profiles, keys.Int("d_rel", 16, {1, 1 << 10}));
  FM_ASSIGN_OR_RETURN(config.relative.extent, keys.Int("rel_extent", 1024, {1, 1 << 20}));
  FM_ASSIGN_OR_RETURN(const auto floor, keys.OptionalInt("log_scaling_n_floor"));
  FM_ASSIGN_OR_RETURN(const float alpha, keys.Float("log_scaling_alpha", 0.1f, kBelowZero));
  if (floor) {
    config.temperature = {
        .scale = alpha, .floor = static_cast<float>(*floor), .rule = TemperatureRule::kSmooth};
  }
  return absl::OkStatus();
}

absl::Status ReadConvolutions(const ConfigReader& keys, ModelConfig& config) {
  config.recurrent.kind = Recurrence::kResidualConvolutions;
  config.recurrent.key_heads = 1;  // nothing that ranks divide
  FM_ASSIGN_OR_RETURN(config.recurrent.kernel,
                      keys.Int("conv_kernel_size", 4, {2, kKernelRows.max}));
  return absl::OkStatus();
}

absl::Status ReadDenseLayers(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t dense, keys.Int(kDense, 0, {-1, INT32_MAX}));
  const auto sparse = [&](size_t i) { return static_cast<int64_t>(i) >= dense; };
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].moe = sparse(i);
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  for (size_t i = 0; keys.HasValue(kDense) && i < config.layers.size(); ++i) {
    if (config.layers[i].moe == sparse(i)) continue;
    return keys.Wrong(kDense, fmt::format("it contradicts mlp_layer_types at layer {}", i));
  }
  return absl::OkStatus();
}

// The authors' intermediate_size is that of experts.
absl::Status ReadWidths(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto dense, keys.OptionalInt("dense_intermediate_size", kWidthRange));
  if (!dense) return absl::OkStatus();
  if (keys.HasValue("intermediate_size") && !keys.HasValue("moe_intermediate_size")) {
    config.moe.intermediate = config.intermediate;
  }
  config.intermediate = *dense;
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  FM_RETURN_IF_ERROR(ReadDenseLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadWidths(keys, config));
  moe.selection_bias = true;
  moe.weight_scale = true;
  FM_ASSIGN_OR_RETURN(moe.shared_sinks, keys.Int("n_shared_experts", 2, {1, kMaxSharedSinks}));
  moe.shared_intermediate = moe.shared_sinks * moe.intermediate;
  FM_ASSIGN_OR_RETURN(moe.routed_scaling, keys.Number("route_scale", 8.0, 0.0));
  return absl::OkStatus();
}

absl::Status ReadEnds(const ConfigReader& keys, ModelConfig& config) {
  if (config.tied_embeddings) {
    return keys.Wrong("tie_word_embeddings",
                      "heads of this architecture have weights of their own");
  }
  config.embedding_norm = true;
  FM_ASSIGN_OR_RETURN(config.logits_scaling, keys.Float("logits_mup_width_multiplier", 24.0f, 0.0));
  FM_ASSIGN_OR_RETURN(const auto scored, keys.OptionalInt("unpadded_vocab_size"));
  if (scored && *scored < config.vocab) config.scored_vocab = *scored;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadWindows(keys, config));
  FM_RETURN_IF_ERROR(ReadHeads(keys, config));
  FM_RETURN_IF_ERROR(ReadScores(keys, config));
  FM_RETURN_IF_ERROR(ReadConvolutions(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  return ReadEnds(keys, config);
}

// Those of Transformers.
LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.k_convolution = attention + "k_sconv.conv1d";
  names.attention.v_convolution = attention + "v_sconv.conv1d";
  names.attention.mixes = attention + "r_proj";
  names.attention.profiles = attention + "rel_logits_proj.proj";
  names.attention_convolution = prefix + "attn_sconv.conv1d";
  names.ffn_convolution = prefix + "mlp_sconv.conv1d";
  names.dense_scale = mlp + "global_scale";
  names.moe.weight_scale = mlp + "gate.global_scale";
  names.moe.experts.always_packed = true;
  names.moe.shared_experts = names.moe.experts;
  names.moe.shared_experts.stem = "shared_experts.";
  names.moe.shared_experts.packed_gate_up = mlp + "shared_experts.gate_proj";
  names.moe.shared_experts.packed_up = mlp + "shared_experts.up_proj";
  names.moe.shared_experts.packed_down = mlp + "shared_experts.down_proj";
  return names;
}

LayerNames PublishedNames(const std::string& prefix) {
  const std::string attention = prefix + "attn.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = Names(prefix);
  names.input_norm = prefix + "attn_norm";
  names.ffn_norm = prefix + "mlp_norm";
  names.attention.q = attention + "wq_du";
  names.attention.k = attention + "wk_dv";
  names.attention.v = attention + "wv_dv";
  names.attention.o = attention + "wo_ud";
  names.attention.q_norm = attention + "q_norm";
  names.attention.k_norm = attention + "k_norm";
  names.attention.k_convolution = attention + "k_sconv";
  names.attention.v_convolution = attention + "v_sconv";
  names.attention.mixes = attention + "wr_du";
  names.attention.profiles = attention + "rel_logits_proj.proj";
  names.attention_convolution = prefix + "attn_sconv";
  names.ffn_convolution = prefix + "mlp_sconv";
  names.dense_gate_up = mlp + "w13_dn";
  names.dense_down = mlp + "w2_md";
  names.dense_taking_turns = true;
  names.moe.selection_bias = mlp + "gate.bias";
  names.moe.experts.packed_gate_up = mlp + "experts.w13_weight";
  names.moe.experts.packed_down = mlp + "experts.w2_weight";
  names.moe.experts.taking_turns = true;
  names.moe.shared_experts.packed_gate_up = mlp + "shared_experts.shared_w13_weight";
  names.moe.shared_experts.packed_up.clear();
  names.moe.shared_experts.packed_down = mlp + "shared_experts.shared_w2_weight";
  names.moe.shared_experts.taking_turns = true;
  return names;
}

EndNames TextEnds() {
  EndNames names = UsualEndNames();
  names.embedding_norm = "model.embed_norm";
  return names;
}

EndNames InnerEnds() {
  EndNames names = InnerLanguageModelEndNames();
  names.embedding_norm = "model.language_model.embed_norm";
  return names;
}

// Transformers since 5.24 has the norm in the embedding.
EndNames NewerEnds(EndNames names, const std::string& embedding) {
  names.embedding_norm = embedding + ".embed_norm";
  return names;
}

EndNames NewerTextEnds() { return NewerEnds(TextEnds(), "model.embed_tokens"); }
EndNames NewerInnerEnds() { return NewerEnds(InnerEnds(), "model.language_model.embed_tokens"); }

EndNames PublishedEnds() {
  EndNames names = {"model.llm.embed.weight", "model.llm.norm", "model.llm.unembed"};
  names.embedding_norm = "model.llm.embed_norm";
  return names;
}

constexpr OtherNames kOther[] = {{.tensor = "model.language_model.embed_norm.weight",
                                  .layers = "model.language_model.layers.",
                                  .layer_names = Names,
                                  .end_names = InnerEnds},
                                 {.tensor = "model.language_model.embed_tokens.embed_norm.weight",
                                  .layers = "model.language_model.layers.",
                                  .layer_names = Names,
                                  .end_names = NewerInnerEnds}};
constexpr OtherNames kOtherText[] = {{.tensor = "model.embed_tokens.embed_norm.weight",
                                      .layers = "model.layers.",
                                      .layer_names = Names,
                                      .end_names = NewerTextEnds}};

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  gate.shared_sinks = static_cast<int>(config.moe.shared_sinks);
  return gate;
}

constexpr ConfigFamily kText = {.architecture = "InklingForCausalLM",
                                .model_type = "inkling_text",
                                .vocab = 201024,
                                .hidden = 6144,
                                .intermediate = 24576,
                                .layers = 66,
                                .heads = 64,
                                .kv_heads = 8,
                                .max_positions = 131072,
                                .head_dim = 128,
                                .own_rope = true,
                                .eos = 2,
                                .qk_norm = QkNormKind::kHeads,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 256,
                                .top_k = 6,
                                .moe_intermediate = 3072,
                                .dense = DenseRule::kOwn,
                                .local_experts_alias = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .absent_keys = kAbsent,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.text_model_type = config.model_type;
  config.architecture = "InklingForConditionalGeneration";
  config.model_type = "inkling_mm_model";
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kInklingText = {.config = kText,
                             .layer_names = Names,
                             .end_names = TextEnds,
                             .other_names = kOtherText,
                             .gate = PublishedGate,
                             .unused = kUnused};

const Family kInkling = {.config = MultimodalConfig(),
                         .layer_names = PublishedNames,
                         .end_names = PublishedEnds,
                         .layers = "model.llm.layers.",
                         .other_names = kOther,
                         .gate = PublishedGate,
                         .unused = kNotText};

}  // namespace folkmoot
