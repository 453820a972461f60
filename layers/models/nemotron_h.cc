// SPDX-License-Identifier: Apache-2.0
// Nemotron-H (NVIDIA 2025) and Nemotron 3: every layer is one of four things, a state space of
// Mamba-2, attention without rotation, a dense network or experts, each with one norm before it.
// Networks have no gate and squared ReLU; experts are those of DeepSeek-V3 otherwise, in Nemotron 3
// Super on vectors narrower than the hidden ones. Layers for multi-token prediction are not used.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr IntRange kHeads = {1, 1 << 16};
constexpr IntRange kDim = {1, 1 << 12};

constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"},
                                 {"rms_norm_eps", "layer_norm_epsilon"},
                                 {"hidden_act", "mlp_hidden_act"},
                                 {"layer_types", "layers_block_type"}};
// Read, but for those from chunk_size on: they are of training, of other kernels and of layers that
// are not used, and `expand` is not what the width comes from.
constexpr std::string_view kOwnKeys[] = {"hybrid_override_pattern",
                                         "mamba_num_heads",
                                         "mamba_head_dim",
                                         "ssm_state_size",
                                         "n_groups",
                                         "conv_kernel",
                                         "use_conv_bias",
                                         "use_bias",
                                         "n_group",
                                         "topk_group",
                                         "routed_scaling_factor",
                                         "moe_shared_expert_intermediate_size",
                                         "moe_latent_size",
                                         "norm_eps",
                                         "chunk_size",
                                         "expand",
                                         "hidden_dropout",
                                         "moe_shared_expert_overlap",
                                         "mtp_hybrid_override_pattern",
                                         "mtp_layers_block_type",
                                         "num_logits_to_keep",
                                         "num_nextn_predict_layers",
                                         "rescale_prenorm_residual",
                                         "time_step_floor",
                                         "time_step_max",
                                         "time_step_min",
                                         "use_mamba_kernels"};
constexpr FixedKey kFixed[] = {{"mamba_hidden_act", "\"silu\""},
                               {"mamba_proj_bias", "false"},
                               {"mamba_ssm_cache_dtype", "\"float32\""},
                               {"n_shared_experts", "1"},
                               {"residual_in_fp32", "false"},
                               {"tie_word_embeddings", "false"},
                               {"time_step_limit", R"([0.0, "Infinity"])"}};
constexpr std::string_view kAbsent[] = {"tie_word_embeddings"};
constexpr std::string_view kUnused[] = {"mtp."};

// Places in both lists say the same.
enum Kind : size_t { kMamba, kAttention, kDense, kExperts };
constexpr std::string_view kLetters = "M*-E";
constexpr std::array<std::string_view, 6> kTypes = {"mamba", "attention",        "mlp",
                                                    "moe",   "linear_attention", "full_attention"};

absl::StatusOr<std::vector<size_t>> ReadPattern(const ConfigReader& keys) {
  constexpr const char* kPattern = "hybrid_override_pattern";
  FM_ASSIGN_OR_RETURN(const auto pattern, keys.OptionalString(kPattern));
  std::vector<size_t> kinds;
  for (const char letter : pattern.value_or("")) {
    const size_t kind = kLetters.find(letter);
    if (kind == std::string_view::npos) {
      return keys.Wrong(kPattern,
                        "letters are M (Mamba-2), * (attention), - (MLP) and E (experts)");
    }
    kinds.push_back(kind);
  }
  return kinds;
}

// Of the pattern or the list, or, where there is neither, one of each as Transformers has it.
absl::StatusOr<std::vector<size_t>> ReadKinds(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(std::vector<size_t> kinds, ReadPattern(keys));
  if (keys.HasValue("layer_types")) {
    FM_ASSIGN_OR_RETURN(const auto names, keys.Strings("layer_types"));
    FM_ASSIGN_OR_RETURN(auto listed, ReadLayerKinds(keys, "layer_types", kTypes, names.size()));
    for (size_t& kind : listed) kind = kind < kLetters.size() ? kind : kind - kLetters.size();
    if (!kinds.empty() && kinds != listed) {
      return keys.Wrong("layer_types",
                        "it contradicts hybrid_override_pattern; keep one of the two");
    }
    kinds = std::move(listed);
  } else if (!keys.HasValue("hybrid_override_pattern")) {
    kinds = {kMamba, kExperts, kAttention, kDense};
  }
  FM_ASSIGN_OR_RETURN(const auto count, keys.OptionalInt("num_hidden_layers"));
  if (count.value_or(std::ssize(kinds)) == std::ssize(kinds)) return kinds;
  return keys.Wrong("num_hidden_layers", fmt::format("the layers' pattern has {}", kinds.size()));
}

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  constexpr size_t kMostLayers = 10000;
  FM_ASSIGN_OR_RETURN(const std::vector<size_t> kinds, ReadKinds(keys));
  const std::string_view key =
      keys.HasValue("layer_types") ? "layer_types" : "hybrid_override_pattern";
  if (kinds.size() > kMostLayers) {
    return keys.Wrong(key, fmt::format("{} layers are the most", kMostLayers));
  }
  config.layers.clear();
  bool routes = false;
  for (const size_t kind : kinds) {
    LayerConfig& layer = config.layers.emplace_back();
    layer.ffn = kind == kDense || kind == kExperts;
    layer.moe = kind == kExperts;
    layer.mixer = layer.ffn            ? Mixer::kNone
                  : kind == kAttention ? Mixer::kAttention
                                       : Mixer::kRecurrent;
    layer.rope = false;
    routes = routes || layer.moe;
  }
  if (!routes) config.moe = {};
  return CheckAttends(keys, key, config);
}

absl::Status ReadStateSpace(const ConfigReader& keys, ModelConfig& config) {
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kStateSpace;
  FM_ASSIGN_OR_RETURN(recurrent.kernel, keys.Int("conv_kernel", 4, kKernelRows));
  FM_ASSIGN_OR_RETURN(recurrent.value_heads, keys.Int("mamba_num_heads", 128, kHeads));
  FM_ASSIGN_OR_RETURN(recurrent.value_dim, keys.Int("mamba_head_dim", 64, kDim));
  FM_ASSIGN_OR_RETURN(recurrent.key_heads, keys.Int("n_groups", 8, kHeads));
  FM_ASSIGN_OR_RETURN(recurrent.key_dim, keys.Int("ssm_state_size", 128, kDim));
  FM_ASSIGN_OR_RETURN(recurrent.kernel_bias, keys.Bool("use_conv_bias", true));
  FM_ASSIGN_OR_RETURN(recurrent.bias, keys.Bool("use_bias", false));
  if (recurrent.value_heads % recurrent.key_heads == 0) return absl::OkStatus();
  return keys.Wrong("n_groups",
                    fmt::format("it must divide mamba_num_heads = {}", recurrent.value_heads));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(const auto eps, keys.OptionalNumber("norm_eps", 0.0));
  if (eps && static_cast<float>(*eps) != config.rms_norm_eps) {
    return keys.Wrong("norm_eps", "it contradicts layer_norm_epsilon; remove it");
  }
  MoeConfig& moe = config.moe;
  moe.selection_bias = true;
  FM_RETURN_IF_ERROR(ReadGroups(keys, {}, moe));
  FM_ASSIGN_OR_RETURN(moe.routed_scaling, keys.Number("routed_scaling_factor", 1.0, 0.0));
  FM_ASSIGN_OR_RETURN(moe.shared_intermediate,
                      keys.Int("moe_shared_expert_intermediate_size", 7688, kWidthRange));
  FM_ASSIGN_OR_RETURN(const auto latent, keys.OptionalInt("moe_latent_size", kWidthRange));
  moe.latent = latent.value_or(0);
  FM_RETURN_IF_ERROR(ReadStateSpace(keys, config));
  return ReadLayers(keys, config);
}

// A layer has one of these.
LayerNames Names(const std::string& prefix) {
  const std::string mixer = prefix + "mixer.";
  LayerNames names = UsualLayerNames(prefix);
  names.input_norm = names.ffn_norm = prefix + "norm";
  names.attention = UsualAttentionNames(mixer);
  names.recurrent = {.in = mixer + "in_proj",
                     .convolution = mixer + "conv1d",
                     .rates = mixer + "A_log",
                     .step_bias = mixer + "dt_bias",
                     .skip = mixer + "D",
                     .norm = mixer + "norm",
                     .o = mixer + "out_proj"};
  names.dense_up = mixer + "up_proj";
  names.dense_down = mixer + "down_proj";
  names.moe = {.router = mixer + "gate.weight",
               .selection_bias = mixer + "gate.e_score_correction_bias",
               .experts = {.prefix = mixer, .gate = "up_proj.weight", .down = "down_proj.weight"},
               .shared_prefix = mixer + "shared_experts.",
               .shared_gated = false,
               .latent_in = mixer + "fc1_latent_proj",
               .latent_out = mixer + "fc2_latent_proj"};
  return names;
}

EndNames Ends() { return {"backbone.embeddings.weight", "backbone.norm_f", "lm_head"}; }

}  // namespace

const Family kNemotronH = {
    .config = {.architecture = "NemotronHForCausalLM",
               .model_type = "nemotron_h",
               .vocab = 131072,
               .hidden = 4096,
               .intermediate = 21504,
               .layers = 4,
               .heads = 32,
               .kv_heads = 8,
               .max_positions = 4096,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .own_rope = true,
               .eos = 2,
               .activation = Activation::kReluSquared,
               .mlp_bias_key = true,
               .window = WindowRule::kOwn,
               .head_dim_null = false,
               .experts = 8,
               .top_k = 2,
               .moe_intermediate = 7688,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .layers = "backbone.layers.",
    .gate = BiasedSigmoidGate,
    .unused = kUnused,
};

}  // namespace folkmoot
