// SPDX-License-Identifier: Apache-2.0
// MiniMax-Text-01 and MiniMax-M1 (MiniMax 2025, arXiv 2501.08313): most layers are lightning
// attention (layers/lightning_attention.h), every few have full attention. The stream behind a part
// of a layer is what its norm gave and what the part gave, times a factor each. Experts are those
// of Mixtral. Files have the authors' architecture and keys, or those of Transformers.
//
// The number of turning elements, rotary_dim, is honoured as in the authors' code;
// Transformers 5.17 turns whole heads.
#include <algorithm>
#include <array>
#include <bit>
#include <iterator>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr const char* kTypes = "layer_types";
constexpr const char* kTypeList = "attn_type_list";
constexpr const char* kPostNorm = "postnorm";

// The last two change nothing: there is no shared expert, and states go on row by row, whatever a
// block has.
constexpr std::string_view kOwnKeys[] = {"rotary_dim",
                                         "sliding_window",
                                         "full_attn_alpha_factor",
                                         "full_attn_beta_factor",
                                         "linear_attn_alpha_factor",
                                         "linear_attn_beta_factor",
                                         "mlp_alpha_factor",
                                         "mlp_beta_factor",
                                         "shared_moe_mode",
                                         "block_size"};
// Of each layer of lightning attention, made of the configuration: Transformers writes them.
constexpr std::string_view kDecays[] = {".self_attn.slope_rate", ".self_attn.query_decay",
                                        ".self_attn.key_decay", ".self_attn.diagonal_decay"};
constexpr FixedKey kFixed[] = {{kPostNorm, "true"}, {"shared_intermediate_size", "0"}};

constexpr std::string_view kAuthorsKeys[] = {"rotary_dim",
                                             kTypeList,
                                             kPostNorm,
                                             "layernorm_full_attention_alpha",
                                             "layernorm_full_attention_beta",
                                             "layernorm_linear_attention_alpha",
                                             "layernorm_linear_attention_beta",
                                             "layernorm_mlp_alpha",
                                             "layernorm_mlp_beta",
                                             "shared_moe_mode",
                                             "block_size"};
constexpr KeyAlias kAuthorsAliases[] = {
    {"full_attn_alpha_factor", "layernorm_full_attention_alpha"},
    {"full_attn_beta_factor", "layernorm_full_attention_beta"},
    {"linear_attn_alpha_factor", "layernorm_linear_attention_alpha"},
    {"linear_attn_beta_factor", "layernorm_linear_attention_beta"},
    {"mlp_alpha_factor", "layernorm_mlp_alpha"},
    {"mlp_beta_factor", "layernorm_mlp_beta"}};
constexpr FixedKey kAuthorsFixed[] = {{"shared_intermediate_size", "0"}};
constexpr std::string_view kAuthorsAbsent[] = {kTypes};

absl::Status ReadResidual(const ConfigReader& keys, ResidualConfig& residual) {
  const auto read = [&](const std::string& part, ResidualFactors& factors) -> absl::Status {
    FM_ASSIGN_OR_RETURN(factors.kept, keys.Float(part + "_alpha_factor", 1, kBelowZero));
    FM_ASSIGN_OR_RETURN(factors.added, keys.Float(part + "_beta_factor", 1, kBelowZero));
    return absl::OkStatus();
  };
  residual.of_norm = true;
  FM_RETURN_IF_ERROR(read("full_attn", residual.attention));
  FM_RETURN_IF_ERROR(read("linear_attn", residual.recurrent));
  return read("mlp", residual.ffn);
}

// `linear`: whether a layer has lightning attention, as `key` says.
absl::Status SetKinds(const ConfigReader& keys, const char* key, const std::vector<bool>& linear,
                      ModelConfig& config) {
  for (size_t i = 0; i < linear.size(); ++i) {
    config.layers[i].mixer = linear[i] ? Mixer::kRecurrent : Mixer::kAttention;
  }
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kLightning;
  recurrent.key_heads = recurrent.value_heads = config.heads;
  recurrent.key_dim = recurrent.value_dim = config.head_dim;
  recurrent.activation = config.activation;
  return CheckAttends(keys, key, config);
}

absl::Status ReadMinimax(const ConfigSource& source, ModelConfig& config) {
  constexpr std::array<std::string_view, 2> kKnown = {"full_attention", "linear_attention"};
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadResidual(keys, config.residual));
  std::vector<bool> linear(config.layers.size());
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(const auto kinds, ReadLayerKinds(keys, kTypes, kKnown, linear.size()));
    for (size_t i = 0; i < linear.size(); ++i) linear[i] = kinds[i] == 1;
  } else {
    for (size_t i = 1; i < linear.size(); i += 2) linear[i] = true;
  }
  FM_RETURN_IF_ERROR(SetKinds(keys, kTypes, linear, config));
  FM_ASSIGN_OR_RETURN(const auto window, keys.OptionalInt("sliding_window"));
  for (LayerConfig& layer : config.layers) {
    if (layer.mixer == Mixer::kAttention) layer.sliding_window = window.value_or(0);
  }
  return ReadRotaryDim(source, config);
}

// 1 stands for softmax attention, 0 for lightning attention, whose heads decay otherwise in the
// authors' code than in that of Transformers where they are no power of two.
absl::Status ReadAuthors(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(const bool of_norm, keys.Bool(kPostNorm, false));
  if (!of_norm) {
    return keys.Wrong(kPostNorm, "true only is known: what norms give is the residual");
  }
  FM_RETURN_IF_ERROR(ReadResidual(keys, config.residual));
  FM_ASSIGN_OR_RETURN(const auto types, ReadLayerInts(keys, kTypeList, {0, 1}, config));
  if (types.empty()) return keys.WrongLength(kTypeList, config.layers.size());
  std::vector<bool> linear;
  for (const int64_t type : types) linear.push_back(type == 0);
  FM_RETURN_IF_ERROR(SetKinds(keys, kTypeList, linear, config));
  if (config.recurrent_layers() > 0 && !std::has_single_bit(static_cast<uint64_t>(config.heads))) {
    return keys.Wrong("num_attention_heads", "of lightning attention it must be a power of two");
  }
  return ReadRotaryDim(source, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string mixer = prefix + "self_attn.";
  LayerNames names = SparseBlockNames(prefix);
  names.recurrent.qkv = mixer + "qkv_proj";
  names.recurrent.z = mixer + "output_gate";
  names.recurrent.norm = mixer + "norm";
  names.recurrent.o = mixer + "out_proj";
  return names;
}

bool IsDecay(const ModelConfig&, std::string_view name) {
  return std::any_of(std::begin(kDecays), std::end(kDecays),
                     [name](std::string_view end) { return name.ends_with(end); });
}

constexpr ConfigFamily Config(std::string_view architecture, std::string_view model_type) {
  return {.architecture = architecture,
          .model_type = model_type,
          .vocab = 32000,
          .hidden = 4096,
          .intermediate = 14336,
          .layers = 32,
          .heads = 32,
          .kv_heads = 8,
          .max_positions = 131072,
          .rms_norm_eps = 1e-5,
          .rope_theta = 1e6,
          .partial_rotary = 1.0,
          .own_rope = true,
          .window = WindowRule::kOwn,
          .experts = 8,
          .top_k = 2,
          .local_experts_alias = true};
}

constexpr ConfigFamily MinimaxConfig() {
  ConfigFamily config = Config("MiniMaxForCausalLM", "minimax");
  config.eos = 2;
  config.kv_heads_null = false;
  config.fixed = kFixed;
  config.own_keys = kOwnKeys;
  config.read = ReadMinimax;
  return config;
}

constexpr ConfigFamily AuthorsConfig() {
  ConfigFamily config = Config("MiniMaxText01ForCausalLM", "minimax_text_01");
  config.other_architecture = "MiniMaxM1ForCausalLM";
  config.other_model_type = "minimax_m1";
  config.aliases = kAuthorsAliases;
  config.fixed = kAuthorsFixed;
  config.absent_keys = kAuthorsAbsent;
  config.own_keys = kAuthorsKeys;
  config.read = ReadAuthors;
  return config;
}

}  // namespace

const Family kMinimax = {
    .config = MinimaxConfig(),
    .layer_names = Names,
    .gate = TopKGate,
    .also_unused = IsDecay,
};
const Family kMinimaxText01 = {
    .config = AuthorsConfig(),
    .layer_names = Names,
    .gate = TopKGate,
    .also_unused = IsDecay,
};

}  // namespace folkmoot
