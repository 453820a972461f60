// SPDX-License-Identifier: Apache-2.0
// GgufModelConfig: no unknown keys (CheckKeys), then one Read* function for each part of
// ModelConfig. Meanings of keys: llama.cpp's src/llama-arch.cpp and src/models/<architecture>.cpp.
#include "runtime/model_config_gguf.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/checkpoint/gguf_names.h"

namespace folkmoot {
namespace {

constexpr GgufRange kWidths = {1, 1 << 24};
constexpr GgufRange kLayers = {1, 10000};
constexpr GgufRange kCounts = {1, 1 << 16};

constexpr std::array<std::string_view, 21> kHonoured = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_used_count",
    "expert_weights_norm",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.type",
    "vocab_size",
};

// Of yarn; other scalings may carry them.
constexpr std::array<std::string_view, 4> kYarn = {
    "rope.scaling.original_context_length", "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"};

constexpr std::array<std::string_view, 2> kHarmless = {"rope.scaling.finetuned",
                                                       "tensor_data_layout"};

// Allowed with these values, with which they change nothing.
struct Neutral {
  std::string_view key;
  double first;
  double second;
};
constexpr std::array<Neutral, 25> kNeutral = {{
    {"attention.causal", 1, 1},
    {"attention.clamp_kqv", 0, 0},
    {"attention.max_alibi_bias", 0, 0},
    {"attention.output_scale", 0, 1},
    {"attention.scale", 0, 0},
    {"attn_logit_softcapping", 0, 0},
    {"embedding_scale", 0, 1},
    {"expert_gating_func", 0, 1},  // softmax
    {"expert_group_count", 0, 1},
    {"expert_group_used_count", 0, 1},
    {"expert_shared_count", 0, 1},
    {"expert_weights_scale", 0, 1},
    {"final_logit_softcapping", 0, 0},
    {"interleave_moe_layer_step", 0, 1},
    {"leading_dense_block_count", 0, 0},
    {"logit_scale", 0, 1},
    {"moe_every_n_layers", 0, 1},
    {"nextn_predict_layers", 0, 0},
    {"pooling_type", 0, 0},
    {"residual_scale", 0, 1},
    {"rope.scaling.attn_factor", 1, 1},
    {"rope.scaling.yarn_ext_factor", 1, -1},
    {"rope.scaling.yarn_log_multiplier", 0, 0},
    {"router_logit_softcapping", 0, 0},
    {"use_parallel_residual", 0, 0},
}};

template <size_t kSize>
bool Contains(const std::array<std::string_view, kSize>& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

absl::Status CheckKeys(const GgufModel& model) {
  const std::string prefix = model.architecture() + ".";
  for (const auto& [key, value] : model.parsed().keys) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(key).substr(prefix.size());
    if (Contains(kHonoured, name) || Contains(kYarn, name) || Contains(kHarmless, name)) continue;
    const auto neutral = std::find_if(kNeutral.begin(), kNeutral.end(),
                                      [name](const Neutral& n) { return n.key == name; });
    if (neutral == kNeutral.end()) {
      return model.Wrong(key, "this key is not known, and may change what the model computes");
    }
    const auto is = [&value = value](double number) {
      if (const auto truth = value.Bool()) return (*truth ? 1.0 : 0.0) == number;
      return !value.is_array() && value.Number().value_or(NAN) == number;
    };
    if (!is(neutral->first) && !is(neutral->second)) {
      return model.Wrong(key, "this is not supported");
    }
  }
  return absl::OkStatus();
}

// Reads what is there, under the keys of one model.
struct Source {
  const GgufModel& model;
  const GgufFamily& family;

  std::string Key(std::string_view key) const { return GgufKey(model, key); }
  absl::StatusOr<int64_t> Int(std::string_view key, GgufRange range) const {
    return model.RequiredInt(Key(key), range);
  }
  absl::StatusOr<int64_t> Int(std::string_view key, GgufRange range, int64_t absent) const {
    FM_ASSIGN_OR_RETURN(const auto value, model.Int(Key(key), range));
    return value.value_or(absent);
  }
  absl::StatusOr<double> Above(std::string_view key, double above, double absent) const {
    FM_ASSIGN_OR_RETURN(const auto value, model.Number(Key(key)));
    if (value && *value <= above) {
      return model.Wrong(Key(key), fmt::format("it must be greater than {}", above));
    }
    return value.value_or(absent);
  }
  absl::Status Wrong(std::string_view key, std::string_view wanted) const {
    return model.Wrong(Key(key), wanted);
  }
  bool HasTensor(std::string_view name) const { return model.FindTensor(name) != nullptr; }
};

absl::Status ReadSizes(const Source& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.hidden, source.Int("embedding_length", kWidths));
  FM_ASSIGN_OR_RETURN(config.intermediate, source.Int("feed_forward_length", kWidths));
  FM_ASSIGN_OR_RETURN(const int64_t layers, source.Int("block_count", kLayers));
  config.layers.resize(static_cast<size_t>(layers));
  FM_ASSIGN_OR_RETURN(config.max_positions, source.Int("context_length", {1, INT32_MAX}));
  const GgufTensor* table = source.model.FindTensor("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2 || table->shape[0] > kWidths.max) {
    return InvalidArgument("{}: tensor 'token_embd.weight' must be a matrix of one row per token",
                           source.model.path());
  }
  config.vocab = table->shape[0];
  config.dtype = table->blocks == nullptr ? table->dtype : DType::kF16;
  FM_ASSIGN_OR_RETURN(const int64_t vocab, source.Int("vocab_size", kWidths, config.vocab));
  if (vocab != config.vocab) {
    return source.Wrong("vocab_size",
                        fmt::format("but 'token_embd.weight' has {} rows", config.vocab));
  }
  config.tied_embeddings = !source.HasTensor("output.weight");
  return absl::OkStatus();
}

absl::Status ReadAttention(const Source& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.heads, source.Int("attention.head_count", kCounts));
  FM_ASSIGN_OR_RETURN(config.kv_heads,
                      source.Int("attention.head_count_kv", kCounts, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return source.Wrong(
        "attention.head_count_kv",
        fmt::format("attention.head_count = {} must be a multiple of it", config.heads));
  }
  FM_ASSIGN_OR_RETURN(config.head_dim, GgufHeadDim(source.model));
  for (const std::string_view key : {"attention.value_length", "rope.dimension_count"}) {
    FM_ASSIGN_OR_RETURN(const int64_t width, source.Int(key, kCounts, config.head_dim));
    if (width == config.head_dim) continue;
    return source.Wrong(
        key, fmt::format("only the width of the keys, {}, is supported", config.head_dim));
  }
  FM_ASSIGN_OR_RETURN(const int64_t window,
                      source.Int("attention.sliding_window", {0, INT32_MAX}, 0));
  for (LayerConfig& layer : config.layers) layer.sliding_window = window;
  const std::string eps_key = "attention.layer_norm_rms_epsilon";
  FM_ASSIGN_OR_RETURN(const double eps, source.Above(eps_key, 0, -1));
  if (eps < 0) return source.Wrong(eps_key, "it must be a number greater than 0");
  config.rms_norm_eps = static_cast<float>(eps);
  config.qkv_bias = source.HasTensor("blk.0.attn_q.bias");
  config.output_bias = source.HasTensor("blk.0.attn_output.bias");
  config.mlp_bias = source.HasTensor("blk.0.ffn_gate.bias");
  if (source.family.row_norms) {
    config.qk_norm = QkNormKind::kRows;
  } else if (source.HasTensor("blk.0.attn_q_norm.weight")) {
    config.qk_norm = QkNormKind::kHeads;
  }
  return absl::OkStatus();
}

absl::Status ReadExpertWidths(const Source& source, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  if (source.family.one_width) {
    moe.intermediate = config.intermediate;
    return absl::OkStatus();
  }
  // Old files leave these two away.
  FM_ASSIGN_OR_RETURN(moe.intermediate,
                      source.Int("expert_feed_forward_length", kWidths,
                                 std::max<int64_t>(config.intermediate / moe.top_k, 1)));
  if (!source.HasTensor("blk.0.ffn_gate_inp_shexp.weight")) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(moe.shared_intermediate, source.Int("expert_shared_feed_forward_length",
                                                          kWidths, config.intermediate));
  return absl::OkStatus();
}

absl::Status ReadMoe(const Source& source, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  FM_ASSIGN_OR_RETURN(moe.experts, GgufExperts(source.model));
  const std::string_view architecture = moe.experts > 0 ? source.family.moe : source.family.dense;
  if (architecture.empty()) {
    return source.Wrong("expert_count",
                        moe.experts > 0 ? "this architecture has no experts"
                                        : "this architecture has experts: it must be at least 1");
  }
  config.architecture = architecture;
  if (moe.experts == 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(moe.top_k, source.Int("expert_used_count", {1, moe.experts}));
  FM_RETURN_IF_ERROR(ReadExpertWidths(source, config));
  FM_ASSIGN_OR_RETURN(const auto norm, source.model.Bool(source.Key("expert_weights_norm")));
  moe.norm_topk_prob = norm.value_or(source.family.normalised);
  if (!moe.norm_topk_prob && source.family.interleaved) {
    return source.Wrong("expert_weights_norm", "Mixtral always normalises");
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    config.layers[i].moe = source.HasTensor(fmt::format("blk.{}.ffn_gate_inp.weight", i));
  }
  return absl::OkStatus();
}

absl::Status ReadYarn(const Source& source, RopeConfig& rope) {
  FM_ASSIGN_OR_RETURN(rope.factor, source.Above("rope.scaling.factor", 0, 1));
  FM_ASSIGN_OR_RETURN(rope.original_max_positions,
                      source.Int("rope.scaling.original_context_length", {1, INT32_MAX},
                                 rope.original_max_positions));
  FM_ASSIGN_OR_RETURN(rope.beta_fast, source.Above("rope.scaling.yarn_beta_fast", 0, 32));
  FM_ASSIGN_OR_RETURN(rope.beta_slow, source.Above("rope.scaling.yarn_beta_slow", 0, 1));
  FM_ASSIGN_OR_RETURN(const double attention, source.Above("rope.scaling.yarn_attn_factor", 0, -1));
  if (attention > 0) rope.attention_factor = attention;
  return absl::OkStatus();
}

absl::Status ReadRope(const Source& source, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.original_max_positions = config.max_positions;
  FM_ASSIGN_OR_RETURN(rope.theta, source.Above("rope.freq_base", 1, 1e4));
  const std::string type_key = source.Key("rope.scaling.type");
  FM_ASSIGN_OR_RETURN(const auto named, source.model.String(type_key));
  FM_ASSIGN_OR_RETURN(const double old_linear, source.Above("rope.scale_linear", 0, 1));
  const std::string_view type = named.value_or(old_linear == 1 ? "none" : "linear");
  if (type == "linear") {
    rope.type = RopeType::kLinear;
    FM_ASSIGN_OR_RETURN(rope.factor, source.Above("rope.scaling.factor", 0, old_linear));
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    FM_RETURN_IF_ERROR(ReadYarn(source, rope));
  } else if (type != "none") {
    return source.model.Wrong(type_key, "known: none, linear, yarn");
  }
  const GgufTensor* divisors = source.model.FindTensor("rope_freqs.weight");
  if (divisors == nullptr) return absl::OkStatus();
  if (rope.type != RopeType::kDefault) {
    return source.model.Wrong(type_key, "beside the tensor 'rope_freqs.weight' it must be none");
  }
  FM_ASSIGN_OR_RETURN(rope.divisors, source.model.TensorNumbers(*divisors, config.head_dim / 2));
  const bool good = std::all_of(rope.divisors.begin(), rope.divisors.end(), [](double divisor) {
    return divisor > 0 && divisor < std::numeric_limits<double>::infinity();
  });
  if (good) return absl::OkStatus();
  return InvalidArgument("{}: tensor 'rope_freqs.weight' has values that are not above 0",
                         source.model.path());
}

// Generation ends at any of these.
absl::Status ReadEnds(const GgufModel& model, ModelConfig& config) {
  for (const std::string_view kind : {"eos", "eot", "eom"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", kind);
    FM_ASSIGN_OR_RETURN(const auto id, model.Int(key, {0, UINT32_MAX}));
    if (!id || *id == UINT32_MAX) continue;  // how some writers say none
    if (*id >= config.vocab) {
      return model.Wrong(key, fmt::format("the model has {} tokens", config.vocab));
    }
    const auto end = static_cast<int32_t>(*id);
    const bool is_new =
        std::find(config.eos_ids.begin(), config.eos_ids.end(), end) == config.eos_ids.end();
    if (is_new) config.eos_ids.push_back(end);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> GgufModelConfig(const GgufModel& model) {
  FM_ASSIGN_OR_RETURN(const GgufFamily* family, FamilyOf(model));
  FM_RETURN_IF_ERROR(CheckKeys(model));
  const Source source = {model, *family};
  ModelConfig config;
  FM_RETURN_IF_ERROR(ReadSizes(source, config));
  FM_RETURN_IF_ERROR(ReadAttention(source, config));
  FM_RETURN_IF_ERROR(ReadMoe(source, config));
  FM_RETURN_IF_ERROR(ReadRope(source, config));
  FM_RETURN_IF_ERROR(ReadEnds(model, config));
  return config;
}

}  // namespace folkmoot
