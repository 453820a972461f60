// SPDX-License-Identifier: Apache-2.0
// Jamba (AI21 2024, arXiv 2403.19887), with experts in every few layers or dense: selective scans
// of Mamba, and attention without rotation in every few layers. The softmax over all experts weighs
// the chosen ones, and is not normalised again.
#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr IntRange kSizes = {1, 1 << 16};
constexpr IntRange kLayerRange = {1, 1 << 20};

// Those from calc_logits_for_entire_prompt on are of other programs and their kernels.
constexpr std::string_view kOwnKeys[] = {"attn_layer_offset",   "attn_layer_period",
                                         "expert_layer_offset", "expert_layer_period",
                                         "num_experts",         "num_local_experts",
                                         "num_experts_per_tok", "mamba_conv_bias",
                                         "mamba_d_conv",        "mamba_d_state",
                                         "mamba_dt_rank",       "mamba_expand",
                                         "mamba_proj_bias",     "calc_logits_for_entire_prompt",
                                         "num_logits_to_keep",  "use_associative_scan",
                                         "use_mamba_kernels",   "use_mambapy"};
constexpr KeyAlias kAliases[] = {{"max_position_embeddings", "n_ctx", true}};
constexpr FixedKey kFixed[] = {{"mamba_inner_layernorms", "true"}};
constexpr std::string_view kAbsent[] = {"layer_types", "original_max_position_embeddings",
                                        "rope_parameters", "rope_scaling", "rope_theta"};

// Does layer i have what every `period`-th has, from `offset` on?
struct Every {
  int64_t period;
  int64_t offset;

  bool Has(size_t i) const { return static_cast<int64_t>(i) % period == offset; }
};

absl::StatusOr<Every> ReadEvery(const ConfigReader& keys, const std::string& what, Every absent) {
  const std::string offset_key = what + "_layer_offset";
  Every every = absent;
  FM_ASSIGN_OR_RETURN(every.period, keys.Int(what + "_layer_period", absent.period, kLayerRange));
  FM_ASSIGN_OR_RETURN(every.offset, keys.Int(offset_key, absent.offset, {0, kLayerRange.max}));
  if (every.offset < every.period) return every;
  return keys.Wrong(offset_key,
                    fmt::format("it must be below {}_layer_period = {}", what, every.period));
}

absl::Status ReadScan(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kRank = "mamba_dt_rank";
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kSelectiveScan;
  recurrent.activation = config.activation;
  recurrent.key_heads = recurrent.value_heads = 1;
  FM_ASSIGN_OR_RETURN(recurrent.kernel, keys.Int("mamba_d_conv", 4, kKernelRows));
  FM_ASSIGN_OR_RETURN(recurrent.key_dim, keys.Int("mamba_d_state", 16, kSizes));
  FM_ASSIGN_OR_RETURN(const int64_t expand, keys.Int("mamba_expand", 2, {1, 1 << 10}));
  recurrent.value_dim = expand * config.hidden;
  FM_ASSIGN_OR_RETURN(recurrent.kernel_bias, keys.Bool("mamba_conv_bias", true));
  FM_ASSIGN_OR_RETURN(recurrent.bias, keys.Bool("mamba_proj_bias", false));
  recurrent.step_rank = (config.hidden + 15) / 16;
  const nlohmann::json* const rank = keys.Find(kRank);
  if (rank == nullptr || *rank == "auto") return absl::OkStatus();
  if (rank->is_string()) return keys.Wrong(kRank, "it must be a number or \"auto\"");
  FM_ASSIGN_OR_RETURN(recurrent.step_rank, keys.Int(kRank, 0, kWidthRange));
  return absl::OkStatus();
}

// One expert is a dense network.
absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kCount = "num_experts";
  constexpr const char* kOther = "num_local_experts";
  MoeConfig moe;
  moe.intermediate = config.intermediate;
  FM_ASSIGN_OR_RETURN(const auto other, keys.OptionalInt(kOther, kSizes));
  FM_ASSIGN_OR_RETURN(moe.experts, keys.Int(kCount, other.value_or(16), kSizes));
  if (other && *other != moe.experts) {
    return keys.Wrong(kOther, "it contradicts num_experts; keep one of the two");
  }
  FM_ASSIGN_OR_RETURN(moe.top_k, keys.Int("num_experts_per_tok", 2, kSizes));
  FM_ASSIGN_OR_RETURN(const Every every, ReadEvery(keys, "expert", {.period = 2, .offset = 1}));
  if (moe.experts == 1) return absl::OkStatus();
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].moe = every.Has(i);
    if (every.Has(i)) config.moe = moe;
  }
  if (moe.top_k <= moe.experts) return absl::OkStatus();
  return keys.Wrong("num_experts_per_tok",
                    fmt::format("{} of {} experts cannot be chosen", moe.top_k, moe.experts));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadScan(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_ASSIGN_OR_RETURN(const Every every, ReadEvery(keys, "attn", {.period = 8, .offset = 4}));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].mixer = every.Has(i) ? Mixer::kAttention : Mixer::kRecurrent;
    config.layers[i].rope = false;
  }
  return CheckAttends(keys, "attn_layer_offset", config);
}

LayerNames Names(const std::string& prefix) {
  const std::string mamba = prefix + "mamba.";
  const std::string feed = prefix + "feed_forward.";
  LayerNames names = UsualLayerNames(prefix);
  names.ffn_norm = prefix + "pre_ff_layernorm";
  names.recurrent = {.in = mamba + "in_proj",
                     .convolution = mamba + "conv1d",
                     .select = mamba + "x_proj",
                     .step = mamba + "dt_proj",
                     .step_norm = mamba + "dt_layernorm",
                     .b_norm = mamba + "b_layernorm",
                     .c_norm = mamba + "c_layernorm",
                     .rates = mamba + "A_log",
                     .skip = mamba + "D",
                     .o = mamba + "out_proj"};
  names.dense_prefix = feed;
  names.moe = {.router = feed + "router.weight",
               .experts = {.prefix = feed,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = feed + "experts.gate_up_proj",
                           .packed_down = feed + "experts.down_proj"}};
  return names;
}

EndNames Ends() { return {"model.embed_tokens.weight", "model.final_layernorm", "lm_head"}; }

}  // namespace

const Family kJamba = {
    .config = {.architecture = "JambaForCausalLM",
               .model_type = "jamba",
               .vocab = 65536,
               .hidden = 4096,
               .intermediate = 14336,
               .layers = 32,
               .heads = 32,
               .kv_heads = 8,
               .max_positions = 262144,
               .own_rope = true,
               .eos = 2,
               .aliases = kAliases,
               .fixed = kFixed,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .gate = TopKGate,
};

}  // namespace folkmoot
