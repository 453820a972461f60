// SPDX-License-Identifier: Apache-2.0
// Inkling 2 (Thinking Machines 2026): Inkling with another attention (layers/clipped_attention.h),
// whose layers without a window make queries, keys and values of rows of their own; with a residual
// of sums that every part reads mixtures of (layers/models/decoder_sums.cc); with experts in all
// layers, chosen by biased sigmoid scores, and soft limits of gate and up. Files have the authors'
// names or those of Transformers; the parts for pictures and further tokens are not used.
//
// Inkling 2 Loop runs layers in the middle several times over (LoopConfig).
#include <charconv>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr IntRange kSizes = {1, 1 << 16};
constexpr const char* kLoopFirst = "loop_layer_index_start";
constexpr const char* kLoopEnd = "loop_layer_index_end";

// The last are those of the looped form.
constexpr std::string_view kLoopOwnKeys[] = {"swa_num_attention_heads",
                                             "swa_num_key_value_heads",
                                             "swa_head_dim",
                                             "sliding_window",
                                             "d_rel",
                                             "rel_extent",
                                             "log_scaling_n_floor",
                                             "log_scaling_alpha",
                                             "sconv_kernel_size",
                                             "routed_scaling_factor",
                                             "unpadded_vocab_size",
                                             "qk_l2_clip_threshold",
                                             "rel_l2_clip_threshold",
                                             "n_layers_per_attn_res_block",
                                             "mlp_gate_softcap",
                                             "mlp_up_softcap",
                                             "final_logit_softcapping",
                                             "loop_config.core_start",
                                             "loop_config.core_end",
                                             "loop_config.num_passes",
                                             "loop_config.gate_rank"};
constexpr std::span kOwnKeys = std::span(kLoopOwnKeys).first(std::size(kLoopOwnKeys) - 4);
constexpr KeyAlias kLoopAliases[] = {{"num_experts", "n_routed_experts"},
                                     {"max_position_embeddings", "model_max_length", true},
                                     {"moe_intermediate_size", "intermediate_size", true},
                                     {"conv_kernel_size", "sconv_kernel_size", true},
                                     {"sliding_window_size", "sliding_window", true},
                                     {"route_scale", "routed_scaling_factor", true},
                                     {kLoopFirst, "loop_config.core_start", true},
                                     {kLoopEnd, "loop_config.core_end", true},
                                     {"loop_num_passes", "loop_config.num_passes", true},
                                     {"loop_gate_rank", "loop_config.gate_rank", true}};
constexpr std::span kAliases = std::span(kLoopAliases).first(std::size(kLoopAliases) - 4);
constexpr std::string_view kLoopNested[] = {"loop_config"};
constexpr FixedKey kFixed[] = {{"number_of_conv_states", "4"}, {"scoring_func", "\"sigmoid\""}};
constexpr std::string_view kAbsent[] = {"original_max_position_embeddings", "rope_parameters",
                                        "rope_scaling", "rope_theta"};
constexpr std::string_view kBesideText[] = {"image_token_id", "mtp_config", "vision_config"};
constexpr std::string_view kUnused[] = {"model.mtp.", "model.visual.", "model.vision_tower."};

// Every sixth layer has no window, where layer_types does not say else.
absl::Status ReadWindows(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kTypes = "layer_types";
  constexpr std::string_view kKinds[] = {"hybrid", "hybrid_sliding"};
  FM_ASSIGN_OR_RETURN(const int64_t window, keys.Int("sliding_window_size", 1024));
  std::vector<size_t> kinds;
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKinds, config.layers.size()));
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool slides = kinds.empty() ? (i + 1) % 6 != 0 : kinds[i] == 1;
    LayerConfig& layer = config.layers[i];
    layer.sliding_window = slides ? window : 0;
    layer.dynamic = !slides;
    layer.sinks = true;
    layer.rope = false;
  }
  return absl::OkStatus();
}

absl::Status ReadHeads(const ConfigReader& keys, int64_t usual_heads, ModelConfig& config) {
  constexpr const char* kHeads = "swa_num_attention_heads";
  FM_ASSIGN_OR_RETURN(const int64_t heads, keys.Int(kHeads, usual_heads, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t kv_heads, keys.Int("swa_num_key_value_heads", 8, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t head_dim, keys.Int("swa_head_dim", 128, kSizes));
  for (LayerConfig& layer : config.layers) {
    if (layer.sliding_window == 0) continue;
    layer.kv_heads = kv_heads;
    layer.head_dim = head_dim;
    FM_RETURN_IF_ERROR(SetHeads(keys, kHeads, heads, config, layer));
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigReader& keys, int64_t usual_floor, ModelConfig& config) {
  constexpr float kRootOf512 = 22.627416997969522f;
  FM_ASSIGN_OR_RETURN(config.relative.profiles, keys.Int("d_rel", 16, {1, 1 << 10}));
  FM_ASSIGN_OR_RETURN(config.relative.extent, keys.Int("rel_extent", 1024, {1, 1 << 20}));
  FM_ASSIGN_OR_RETURN(const int64_t floor, keys.Int("log_scaling_n_floor", usual_floor));
  FM_ASSIGN_OR_RETURN(const float alpha, keys.Float("log_scaling_alpha", 0.1f, kBelowZero));
  config.temperature = {
      .scale = alpha, .floor = static_cast<float>(floor), .rule = TemperatureRule::kSmooth};
  FM_ASSIGN_OR_RETURN(config.clip.heads, keys.Float("qk_l2_clip_threshold", kRootOf512, 0.0));
  FM_ASSIGN_OR_RETURN(config.clip.mixes, keys.Float("rel_l2_clip_threshold", 8.0f, 0.0));
  config.value_norm = true;
  config.attention_gate = AttentionGate::kOwn;
  config.recurrent.kind = Recurrence::kResidualConvolutions;
  config.recurrent.scaled = true;
  config.recurrent.key_heads = 1;  // nothing that ranks divide
  FM_ASSIGN_OR_RETURN(config.recurrent.kernel,
                      keys.Int("conv_kernel_size", 4, {2, kKernelRows.max}));
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("route_scale", 8.0, 0.0));
  if (config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "nobody reads it, and the activation has silu's sigmoid");
  }
  config.activation = Activation::kSoftcappedSwiglu;
  FM_ASSIGN_OR_RETURN(config.swiglu_limit, keys.Float("mlp_gate_softcap", 4.0f, 0.0));
  FM_ASSIGN_OR_RETURN(config.swiglu_up_limit, keys.Float("mlp_up_softcap", 25.0f, 0.0));
  return absl::OkStatus();
}

absl::Status ReadEnds(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kScored = "unpadded_vocab_size";
  if (config.tied_embeddings) {
    return keys.Wrong("tie_word_embeddings",
                      "heads of this architecture have weights of their own");
  }
  config.embedding_norm = true;
  FM_ASSIGN_OR_RETURN(config.residual.sum_layers,
                      keys.Int("n_layers_per_attn_res_block", 6, {1, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(config.logits_softcap, keys.Float("final_logit_softcapping", 30.0f, 0.0));
  FM_ASSIGN_OR_RETURN(const int64_t scored, keys.Int(kScored, 200058));
  if (scored > config.vocab) {
    return keys.Wrong(kScored, fmt::format("(absent: 200058) a vocabulary of vocab_size = {} has "
                                           "no more",
                                           config.vocab));
  }
  if (scored < config.vocab) config.scored_vocab = scored;
  return absl::OkStatus();
}

absl::Status ReadWithFloor(const ConfigSource& source, int64_t usual_floor, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadWindows(keys, config));
  FM_RETURN_IF_ERROR(ReadHeads(keys, source.family.heads, config));
  FM_RETURN_IF_ERROR(ReadAttention(keys, usual_floor, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  return ReadEnds(keys, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  return ReadWithFloor(source, 128000, config);
}

// The layers that run again stand behind the others.
absl::Status SetLoop(const ConfigReader& keys, ModelConfig& config) {
  const LoopConfig& loop = config.loop;
  const int64_t each = config.residual.sum_layers;
  const std::string whole =
      fmt::format("it must be a multiple of n_layers_per_attn_res_block = {}", each);
  if (loop.first % each != 0) return keys.Wrong(kLoopFirst, whole);
  if (loop.end % each != 0) return keys.Wrong(kLoopEnd, whole);
  const auto layers = static_cast<int64_t>(config.layers.size());
  if (loop.end <= loop.first || loop.end > layers) {
    return keys.Wrong(
        kLoopEnd,
        fmt::format("(absent: 18) layers from {} on run again, of {} in all", loop.first, layers));
  }
  for (int64_t pass = 1; pass < loop.passes; ++pass) {
    for (int64_t i = loop.first; i < loop.end; ++i) {
      LayerConfig again = config.layers[static_cast<size_t>(i)];
      again.again = i;
      config.layers.push_back(again);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadLooped(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadWithFloor(source, 8192, config));
  FM_ASSIGN_OR_RETURN(config.loop.first, keys.Int(kLoopFirst, 6));
  FM_ASSIGN_OR_RETURN(config.loop.end, keys.Int(kLoopEnd, 18));
  FM_ASSIGN_OR_RETURN(config.loop.passes, keys.Int("loop_num_passes", 3, {1, 64}));
  FM_ASSIGN_OR_RETURN(config.loop.gate_rank, keys.Int("loop_gate_rank", 64, kWidthRange));
  return SetLoop(keys, config);
}

constexpr std::string_view kLayers = "layers.";

// "model." of "model.layers.3.".
std::string Above(const std::string& prefix) { return prefix.substr(0, prefix.rfind(kLayers)); }

// Those of Transformers.
LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  LayerNames names = UsualLayerNames(prefix);
  names.q_input_norm = prefix + "q_input_layernorm";
  names.k_input_norm = prefix + "k_input_layernorm";
  names.v_input_norm = prefix + "v_input_layernorm";
  names.attention_query = prefix + "attention_input.query";
  names.ffn_query = prefix + "mlp_input.query";
  names.attention_convolution = prefix + "post_attention_convolution.conv1d";
  names.ffn_convolution = prefix + "post_mlp_convolution.conv1d";
  names.attention.q = attention + "q_proj.linear";
  names.attention.k = attention + "k_proj.linear";
  names.attention.v = attention + "v_proj.linear";
  names.attention.o = attention + "o_proj.linear";
  names.attention.gate = attention + "o_proj.gate_proj";
  names.attention.sinks_of = attention + "sink_proj";
  names.attention.q_factors = attention + "q_proj.norm.scale";
  names.attention.k_convolution = attention + "k_proj.sconv.conv1d";
  names.attention.v_convolution = attention + "v_proj.sconv.conv1d";
  names.attention.k_kernel = attention + "k_proj.sconv.static_weight";
  names.attention.v_kernel = attention + "v_proj.sconv.static_weight";
  names.attention.k_taps = attention + "k_proj.sconv.weight_proj.weight";
  names.attention.v_taps = attention + "v_proj.sconv.weight_proj.weight";
  names.attention.mixes = attention + "relative_position_bias.linear";
  names.attention.mix_factors = attention + "relative_position_bias.norm.scale";
  names.attention.profiles = attention + "relative_position_bias.proj";
  names.moe.experts.always_packed = true;
  const auto gate = [&](const std::string& of) -> MessageGateNames {
    const std::string stem = prefix + of + "_message_gate.";
    return {stem + "down_proj.weight", stem + "forget_gate_proj.weight",
            stem + "message_gate_proj.weight"};
  };
  names.q_gate = gate("q");
  names.k_gate = gate("k");
  names.v_gate = gate("v");
  names.ffn_gate = gate("mlp");
  names.message_queries = Above(prefix) + "message_input.query";
  return names;
}

// Queries of all layers stand beside each other, and the first layer has none for its attention.
void SetPublishedQueries(const std::string& prefix, LayerNames& names) {
  const std::string above = Above(prefix);
  int64_t index = 0;
  if (above.size() < prefix.size()) {
    const char* const number = prefix.data() + above.size() + kLayers.size();
    std::from_chars(number, prefix.data() + prefix.size(), index);
  }
  names.attention_query = fmt::format("{}attn_res.attn_queries.{}", above, index - 1);
  names.ffn_query = fmt::format("{}attn_res.mlp_queries.{}", above, index);
  names.message_queries = above + "middle_cycle_cross_pass_queries";
  names.message_kv_queries = above + "middle_cycle_cross_pass_kv_queries";
}

MessageGateNames PublishedGate(const std::string& stem) {
  return {stem + "down_weight", stem + "forget_weight", stem + "gain_weight"};
}

LayerNames PublishedNames(const std::string& prefix) {
  const std::string attention = prefix + "attn.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = Names(prefix);
  SetPublishedQueries(prefix, names);
  names.input_norm = prefix + "attn_norm";
  names.q_input_norm = prefix + "q_input_norm";
  names.k_input_norm = prefix + "k_input_norm";
  names.v_input_norm = prefix + "v_input_norm";
  names.ffn_norm = prefix + "mlp_norm";
  names.attention_convolution = prefix + "attn_sconv";
  names.ffn_convolution = prefix + "mlp_sconv";
  names.attention.q = attention + "wq_du";
  names.attention.k = attention + "wk_dv";
  names.attention.v = attention + "wv_dv";
  names.attention.o = attention + "wo_ud";
  names.attention.gate = attention + "gate_attn";
  names.attention.sinks_of = attention + "attn_sink_proj";
  names.attention.q_factors = attention + "q_l2_clip.scale";
  names.attention.k_convolution = attention + "k_sconv";
  names.attention.v_convolution = attention + "v_sconv";
  names.attention.k_kernel = attention + "k_sconv.static_w";
  names.attention.v_kernel = attention + "v_sconv.static_w";
  names.attention.k_taps = attention + "k_sconv.weight_proj";
  names.attention.v_taps = attention + "v_sconv.weight_proj";
  names.attention.mixes = attention + "wr_du";
  names.attention.mix_factors = attention + "rel_l2_clip.scale";
  names.attention.profiles = attention + "rel_logits_proj.proj";
  names.moe.selection_bias = mlp + "gate.bias";
  names.moe.experts.packed_gate_up = mlp + "experts.w13_weight";
  names.moe.experts.packed_down = mlp + "experts.w2_weight";
  names.moe.experts.taking_turns = true;
  names.q_gate = PublishedGate(prefix + "controllers.attn.");
  names.k_gate = PublishedGate(prefix + "controllers.k.");
  names.v_gate = PublishedGate(prefix + "controllers.v.");
  names.ffn_gate = PublishedGate(prefix + "controllers.mlp.");
  return names;
}

EndNames WithMixture(EndNames names, const std::string& prefix) {
  names.embedding_norm = prefix + "embed_tokens.embed_norm";
  names.final_query = prefix + "final_input.query";
  return names;
}
EndNames TextEnds() { return WithMixture(UsualEndNames(), "model."); }
EndNames InnerEnds() { return WithMixture(InnerLanguageModelEndNames(), "model.language_model."); }
EndNames PublishedEnds() {
  EndNames names = {"model.llm.embed.weight", "model.llm.norm", "model.llm.unembed"};
  names.embedding_norm = "model.llm.embed_norm";
  names.final_query = "model.llm.attn_res.output_query";
  return names;
}

// Transformers writes text models with the authors' names, too.
constexpr OtherNames kOtherText[] = {{.tensor = "model.embed_tokens.embed_norm.weight",
                                      .layers = "model.layers.",
                                      .layer_names = Names,
                                      .end_names = TextEnds}};
constexpr OtherNames kOther[] = {{.tensor = "model.language_model.embed_tokens.embed_norm.weight",
                                  .layers = "model.language_model.layers.",
                                  .layer_names = Names,
                                  .end_names = InnerEnds}};

constexpr ConfigFamily kText = {.architecture = "Inkling2ForCausalLM",
                                .model_type = "inkling2_text",
                                .vocab = 201024,
                                .hidden = 4608,
                                .layers = 48,
                                .heads = 48,
                                .kv_heads = 8,
                                .max_positions = 1048576,
                                .head_dim = 128,
                                .own_rope = true,
                                .eos = 200006,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 384,
                                .top_k = 8,
                                .moe_intermediate = 2304,
                                .local_experts_alias = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .absent_keys = kAbsent,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily LoopConfigFamily() {
  ConfigFamily config = kText;
  config.architecture = "Inkling2LoopForCausalLM";
  config.model_type = "inkling2_loop_text";
  config.hidden = 2304;
  config.layers = 24;
  config.heads = 24;
  config.experts = 128;
  config.moe_intermediate = 1152;
  config.nested = kLoopNested;
  config.aliases = kLoopAliases;
  config.own_keys = kLoopOwnKeys;
  config.read = ReadLooped;
  return config;
}

constexpr ConfigFamily Multimodal(ConfigFamily config, std::string_view architecture,
                                  std::string_view model_type) {
  config.text_model_type = config.model_type;
  config.architecture = architecture;
  config.model_type = model_type;
  config.beside_text = kBesideText;
  return config;
}

// What nobody reads where layers do not run again.
bool IsOfMessages(const ModelConfig& config, std::string_view name) {
  if (config.loop.passes > 1) return false;
  const auto has = [name](std::string_view part) { return name.find(part) != name.npos; };
  return has("_message_gate.") || has(".message_input.") || has(".controllers.") ||
         has(".middle_cycle_cross_pass_");
}

constexpr Family FamilyOf(const ConfigFamily& config, std::span<const OtherNames> other) {
  return {.config = config,
          .layer_names = PublishedNames,
          .end_names = PublishedEnds,
          .layers = "model.llm.layers.",
          .other_names = other,
          .gate = BiasedSigmoidGate,
          .unused = kUnused,
          .also_unused = IsOfMessages};
}

}  // namespace

const Family kInkling2Text = FamilyOf(kText, kOtherText);
const Family kInkling2 =
    FamilyOf(Multimodal(kText, "Inkling2ForConditionalGeneration", "inkling2"), kOther);
const Family kInkling2LoopText = FamilyOf(LoopConfigFamily(), kOtherText);
const Family kInkling2Loop = FamilyOf(
    Multimodal(LoopConfigFamily(), "Inkling2LoopForConditionalGeneration", "inkling2_loop"),
    kOther);

}  // namespace folkmoot
