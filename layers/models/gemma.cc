// SPDX-License-Identifier: Apache-2.0
// Gemma, Gemma 2 (arXiv 2408.00118) and the text model of Gemma 3 (arXiv 2503.19786), dense: norms
// that multiply with 1 + weight, scaled embeddings; since Gemma 2 norms after attention and FFN
// too, capped scores and logits, alternating windows; in Gemma 3 windows with a rotation of their
// own and q/k norms.
#include <cmath>

#include "layers/models/family.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kActivationAlias[] = {{"hidden_act", "hidden_activation"}};
constexpr FixedKey kFixed[] = {{"use_bidirectional_attention", "false"}};
constexpr FixedKey kSecondFixed[] = {{"use_bidirectional_attention", "false"},
                                     {"hidden_act", "\"gelu_pytorch_tanh\""}};
constexpr std::string_view kOwnKeys[] = {"hidden_activation"};
constexpr std::string_view kOwnKeys2[] = {"query_pre_attn_scalar", "attn_logit_softcapping",
                                          "final_logit_softcapping", "cache_implementation",
                                          "sliding_window_size"};
constexpr std::string_view kOwnKeys3[] = {"query_pre_attn_scalar",   "rope_local_base_freq",
                                          "final_logit_softcapping", "cache_implementation",
                                          "sliding_window_pattern",  "_sliding_window_pattern"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden));
  // The first files say "gelu" in hidden_act, and the authors' code has this one.
  if (config.activation == Activation::kGelu) config.activation = Activation::kGeluTanh;
  FM_ASSIGN_OR_RETURN(const auto name, source.keys.OptionalString("hidden_activation"));
  if (!name) return absl::OkStatus();
  if (*name != "gelu_pytorch_tanh") {
    return source.keys.Wrong("hidden_activation", "known: gelu_pytorch_tanh");
  }
  if (config.activation == Activation::kGeluTanh) return absl::OkStatus();
  return source.keys.Wrong("hidden_act", "it contradicts hidden_activation; keep one of the two");
}

// What Gemma 2 and 3 have in common.
absl::Status ReadSecond(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden));
  config.post_norms = true;
  FM_ASSIGN_OR_RETURN(const double scalar, keys.Number("query_pre_attn_scalar", 256, 0.0));
  config.attention_multiplier = static_cast<float>(1.0 / std::sqrt(scalar));
  return absl::OkStatus();
}

absl::Status Read2(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadSecond(source, config));
  // Some files spell it both ways.
  FM_ASSIGN_OR_RETURN(const auto window, source.keys.OptionalInt("sliding_window_size"));
  FM_ASSIGN_OR_RETURN(const int64_t usual, source.keys.Int("sliding_window", 4096));
  if (window && *window != usual) {
    return source.keys.Wrong("sliding_window_size",
                             fmt::format("it contradicts sliding_window = {}", usual));
  }
  FM_ASSIGN_OR_RETURN(config.attention_softcap,
                      source.keys.FloatOrNull("attn_logit_softcapping", 50.0f, 0.0));
  FM_ASSIGN_OR_RETURN(config.logits_softcap,
                      source.keys.FloatOrNull("final_logit_softcapping", 30.0f, 0.0));
  return absl::OkStatus();
}

absl::Status Read3(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadSecond(source, config));
  FM_ASSIGN_OR_RETURN(config.logits_softcap,
                      keys.FloatOrNull("final_logit_softcapping", 0.0f, 0.0));
  constexpr std::string_view kOlder[] = {"rope_theta", "rope_scaling", "rope_local_base_freq"};
  OlderRopeKeys full = {.theta = 1e6};
  OlderRopeKeys local = {.theta = 1e4};
  for (const char* key : {"rope_theta", "rope_scaling"}) {
    if (keys.HasValue(key)) full.keys[key] = *keys.Find(key);
  }
  if (keys.HasValue("rope_local_base_freq")) {
    local.keys["rope_theta"] = *keys.Find("rope_local_base_freq");
  }
  return ReadLayerRopes(keys, kOlder, full, local, config);
}

LayerNames SecondNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_norm = prefix + "pre_feedforward_layernorm";
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  return names;
}

constexpr ConfigFamily SecondConfig() {
  return {.architecture = "Gemma2ForCausalLM",
          .model_type = "gemma2",
          .vocab = 256000,
          .hidden = 2304,
          .intermediate = 9216,
          .layers = 26,
          .heads = 8,
          .kv_heads = 4,
          .max_positions = 8192,
          .head_dim = 256,
          .norm = NormKind::kRmsPlusOne,
          .eos = 1,
          .tied_embeddings = true,
          .activation = Activation::kGeluTanh,
          .bias = BiasRule::kAttentionKey,
          .window = WindowRule::kAlternating,
          .window_size = 4096,
          .kv_heads_null = false,
          .head_dim_null = false,
          .aliases = kActivationAlias,
          .fixed = kSecondFixed,
          .own_keys = kOwnKeys2,
          .read = Read2};
}

constexpr ConfigFamily ThirdConfig() {
  ConfigFamily config = SecondConfig();
  config.architecture = "Gemma3ForCausalLM";
  config.model_type = "gemma3_text";
  config.vocab = 262208;
  config.max_positions = 131072;
  config.qk_norm = QkNormKind::kHeads;
  config.window = WindowRule::kAllButNth;
  config.own_rope = true;
  config.own_keys = kOwnKeys3;
  config.read = Read3;
  return config;
}

}  // namespace

const Family kGemma = {
    .config = {.architecture = "GemmaForCausalLM",
               .model_type = "gemma",
               .vocab = 256000,
               .hidden = 3072,
               .intermediate = 24576,
               .layers = 28,
               .heads = 16,
               .kv_heads = 16,
               .max_positions = 8192,
               .head_dim = 256,
               .norm = NormKind::kRmsPlusOne,
               .eos = 1,
               .tied_embeddings = true,
               .activation = Activation::kGeluTanh,
               .bias = BiasRule::kAttentionKey,
               .kv_heads_null = false,
               .head_dim_null = false,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
};

const Family kGemma2 = {.config = SecondConfig(), .layer_names = SecondNames};
const Family kGemma3 = {.config = ThirdConfig(), .layer_names = SecondNames};

}  // namespace folkmoot
