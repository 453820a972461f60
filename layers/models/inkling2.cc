// SPDX-License-Identifier: Apache-2.0
// Inkling 2 (Thinking Machines 2026): Inkling with another attention (layers/clipped_attention.h),
// whose layers without a window make queries, keys and values of rows of their own; with a residual
// of sums that every part reads mixtures of (layers/models/decoder_sums.cc); with experts in all
// layers, chosen by biased sigmoid scores, and soft limits of gate and up. The parts for pictures
// and further tokens are not used.
//
// Inkling 2 Loop runs layers in the middle several times over (LoopConfig).
#include "layers/models/deepseek_parts.h"
#include "layers/models/inkling2_names.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

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
  FM_RETURN_IF_ERROR(ReadWindowHeads(
      keys, {.heads = source.family.heads, .kv_heads = 8, .head_dim = 128}, config));
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

// Transformers writes text models with the authors' names, too.
constexpr OtherNames kOtherText[] = {{.tensor = "model.embed_tokens.embed_norm.weight",
                                      .layers = "model.layers.",
                                      .layer_names = Inkling2Names,
                                      .end_names = Inkling2TextEnds}};
constexpr OtherNames kOther[] = {{.tensor = "model.language_model.embed_tokens.embed_norm.weight",
                                  .layers = "model.language_model.layers.",
                                  .layer_names = Inkling2Names,
                                  .end_names = Inkling2InnerEnds}};

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
          .layer_names = PublishedInkling2Names,
          .end_names = PublishedInkling2Ends,
          .layers = "model.llm.layers.",
          .other_names = other,
          .gate = BiasedSigmoidGate,
          .unused = kUnused,
          .also_unused = IsOfMessages};
}

constexpr Family LoopFamilyOf(const ConfigFamily& config, std::span<const OtherNames> other) {
  Family family = FamilyOf(config, other);
  family.find_format = FindInklingExperts;
  return family;
}

}  // namespace

const Family kInkling2Text = FamilyOf(kText, kOtherText);
const Family kInkling2 =
    FamilyOf(Multimodal(kText, "Inkling2ForConditionalGeneration", "inkling2"), kOther);
const Family kInkling2LoopText = LoopFamilyOf(LoopConfigFamily(), kOtherText);
const Family kInkling2Loop = LoopFamilyOf(
    Multimodal(LoopConfigFamily(), "Inkling2LoopForConditionalGeneration", "inkling2_loop"),
    kOther);

}  // namespace folkmoot
