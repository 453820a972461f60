// SPDX-License-Identifier: Apache-2.0
// The text models of families that read pages, DeepSeek-OCR 2 and Unlimited-OCR (Baidu):
// DeepSeek-V2's experts beside Llama's attention. Windows of the latter hide nothing of the prompt,
// wherever it stands, so that attention costs no more at the end of a long output than at its
// beginning. Semantics: Transformers' modeling_deepseek_ocr2.py and modeling_unlimited_ocr.py.
#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr std::string_view kWindow = "sliding_window";
constexpr std::string_view kWindowToo = "sliding_window_size";
// The first so many are those of both families.
constexpr std::array kKeys = {std::string_view("n_group"),
                              std::string_view("topk_group"),
                              std::string_view("topk_method"),
                              std::string_view("routed_scaling_factor"),
                              std::string_view("mlp_layer_types"),
                              std::string_view("n_shared_experts"),
                              std::string_view("v_head_dim"),
                              std::string_view("ep_size"),
                              std::string_view("aux_loss_alpha"),
                              std::string_view("seq_aux"),
                              kWindow,
                              kWindowToo};
constexpr size_t kKeysOfBoth = 10;
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
// Latent attention, which the authors' classes have, too, is not that of these models.
constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"softmax\""}, {"moe_layer_freq", "1"},  {"use_mla", "false"},
    {"q_lora_rank", "null"},         {"kv_lora_rank", "null"}, {"qk_nope_head_dim", "0"},
    {"qk_rope_head_dim", "0"},       {"lm_head", "true"},      {"rm_head", "false"}};
constexpr std::string_view kBesideText[] = {"vision_config",   "projector_config",
                                            "image_token_id",  "candidate_resolutions",
                                            "global_view_pos", "tile_tag"};
constexpr std::string_view kNotText[] = {"model.sam_model.",     "model.qwen2_model.",
                                         "model.vision_model.",  "model.projector.",
                                         "model.view_seperator", "model.image_newline"};

absl::Status ReadText(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (config.head_dim * config.heads != config.hidden) {
    return keys.Wrong(
        "head_dim", "where it is given it must be hidden_size / num_attention_heads, which counts");
  }
  FM_ASSIGN_OR_RETURN(const auto values, keys.OptionalInt("v_head_dim", {0, INT32_MAX}));
  if (values.value_or(0) != 0 && *values != config.head_dim) {
    return keys.Wrong("v_head_dim", fmt::format("values are as wide as keys, {}", config.head_dim));
  }
  FM_RETURN_IF_ERROR(ReadGreedyExperts(keys, config.moe));
  return ReadMlpLayerTypes(keys, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  if (!keys.HasValue("mlp_layer_types") && !keys.HasValue("first_k_dense_replace")) {
    return keys.Wrong("mlp_layer_types", "this architecture has no default for it");
  }
  return ReadText(source, config);
}

absl::Status ReadUnlimited(const ConfigSource& source, ModelConfig& config) {
  constexpr const char* kTypes = "layer_types";
  constexpr std::string_view kKinds[] = {"full_attention", "reference_sliding_attention"};
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadText(source, config));
  FM_ASSIGN_OR_RETURN(const int64_t window, keys.Int(kWindow, 128, {1, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(const auto size, keys.OptionalInt(kWindowToo));
  if (size && *size != window) {
    return keys.Wrong(kWindowToo, fmt::format("it contradicts {} = {}", kWindow, window));
  }
  std::vector<size_t> kinds(config.layers.size(), 1);
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKinds, config.layers.size()));
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] == 1) config.layers[i].sliding_window = window;
  }
  config.windows_keep_prompt = true;
  return absl::OkStatus();
}

constexpr ConfigFamily kText = {.architecture = "DeepseekOcr2ForConditionalGeneration",
                                .other_architecture = "DeepseekOCR2ForCausalLM",
                                .model_type = "deepseek_ocr2",
                                .other_model_type = "deepseek_vl_v2",
                                .vocab = 102400,
                                .hidden = 4096,
                                .intermediate = 11008,
                                .layers = 32,
                                .heads = 32,
                                .max_positions = 2048,
                                .eos = 2,
                                .bias = BiasRule::kAttentionKey,
                                .mlp_bias_key = true,
                                .experts = 64,
                                .moe_intermediate = 1407,
                                .dense = DenseRule::kFirst,
                                .norm_topk_key = true,
                                .aliases = kAliases,
                                .text_model_type = "deepseek_ocr2_text",
                                .other_text_model_type = "deepseek_v2",
                                .beside_text = kBesideText,
                                .text_left_outside = true,
                                .authors_text = "language_config",
                                .fixed = kFixed,
                                .own_keys = std::span(kKeys).first(kKeysOfBoth),
                                .read = Read};

constexpr ConfigFamily UnlimitedConfig() {
  ConfigFamily config = kText;
  config.architecture = "UnlimitedOcrForConditionalGeneration";
  config.other_architecture = "UnlimitedOCRForCausalLM";
  config.model_type = "unlimited_ocr";
  config.other_model_type = "unlimited-ocr";
  config.vocab = 129280;
  config.hidden = 1280;
  config.intermediate = 6848;
  config.layers = 12;
  config.heads = 10;
  config.kv_heads = 10;
  config.max_positions = 32768;
  config.eos = 1;
  config.window = WindowRule::kOwn;
  config.top_k = 6;
  config.moe_intermediate = 896;
  config.first_dense = 1;
  config.text_model_type = "unlimited_ocr_text";
  config.authors_outside = {&kWindow, 1};
  config.own_keys = kKeys;
  config.read = ReadUnlimited;
  return config;
}

}  // namespace

const Family kDeepseekOcr2 = {.config = kText, .gate = GreedyGate, .unused = kNotText};
const Family kUnlimitedOcr = {.config = UnlimitedConfig(), .gate = GreedyGate, .unused = kNotText};

}  // namespace folkmoot
