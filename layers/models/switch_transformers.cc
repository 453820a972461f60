// SPDX-License-Identifier: Apache-2.0
// Switch Transformers (Fedus et al. 2021): T5 with the best expert of each token in every n-th
// layer. A source may take expert_capacity places of an expert; whoever finds none passes by on the
// residual stream, as in the authors' code. Transformers says so too, but counts every token by
// itself, so that none is ever left out (docs/adr/0022).
#include <array>
#include <cmath>

#include "layers/models/encoder_parts.h"
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"hidden_size", "d_model"},
                                 {"intermediate_size", "d_ff"},
                                 {"head_dim", "d_kv"},
                                 {"num_hidden_layers", "num_layers"},
                                 {"num_attention_heads", "num_heads"},
                                 {"rms_norm_eps", "layer_norm_epsilon"},
                                 {"hidden_act", "dense_act_fn"},
                                 {"max_position_embeddings", "n_positions"}};

constexpr std::array<std::string_view, 13> kOwnKeys = {"is_encoder_decoder",
                                                       "num_decoder_layers",
                                                       "num_sparse_encoder_layers",
                                                       "num_sparse_decoder_layers",
                                                       "encoder_sparse_step",
                                                       "decoder_sparse_step",
                                                       "router_bias",
                                                       "expert_capacity",
                                                       "relative_attention_num_buckets",
                                                       "decoder_start_token_id",
                                                       "relative_attention_max_distance",
                                                       "forced_bos_token_id",
                                                       "router_ignore_padding_tokens"};

constexpr FixedKey kFixed[] = {
    {"router_dtype", "\"float32\""}, {"router_type", "\"tokens_masked\""},
    {"is_gated_act", "false"},       {"feed_forward_proj", "\"relu\""},
    {"num_selected_experts", "1"},   {"batch_prioritized_routing", "false"},
    {"add_router_probs", "false"},   {"add_router_probs", "true"},
    {"output_past", "true"},         {"tie_encoder_decoder", "false"}};

// Every n-th layer from the second on, n = all / sparse, or all of them where n is 1. Where
// `sparse` is 0, n is all: then Transformers makes one sparse all the same, and files have it.
absl::Status MarkSparse(const ConfigReader& keys, std::string_view sparse_key,
                        std::string_view step_key, std::span<LayerConfig> layers) {
  const auto count = static_cast<int64_t>(layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t sparse, keys.Int(sparse_key, 3, {0, count}));
  const int64_t step = sparse > 0 ? count / sparse : count;
  FM_ASSIGN_OR_RETURN(const int64_t said, keys.Int(step_key, step));
  if (said != step) {
    return keys.Wrong(
        step_key, fmt::format("{} = {} of {} layers make it {}", sparse_key, sparse, count, step));
  }
  for (int64_t i = 0; i < count; ++i) {
    layers[static_cast<size_t>(i)].moe = step == 1 || i % step == 1;
  }
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const auto encoder_layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t decoder_layers,
                      keys.HasValue("num_decoder_layers")
                          ? keys.Int("num_decoder_layers", encoder_layers)
                          : absl::StatusOr<int64_t>(encoder_layers));
  FM_RETURN_IF_ERROR(ReadEncoder(keys, config.heads, config.intermediate, decoder_layers, config));
  const std::span<LayerConfig> layers = config.layers;
  const auto border = static_cast<size_t>(encoder_layers);
  FM_RETURN_IF_ERROR(
      MarkSparse(keys, "num_sparse_encoder_layers", "encoder_sparse_step", layers.first(border)));
  FM_RETURN_IF_ERROR(
      MarkSparse(keys, "num_sparse_decoder_layers", "decoder_sparse_step", layers.subspan(border)));
  config.attention_multiplier = 1.0f;
  if (config.tied_embeddings) {
    config.logits_scaling = std::sqrt(static_cast<float>(config.hidden));
  }
  FM_ASSIGN_OR_RETURN(config.moe.router_bias, keys.Bool("router_bias", false));
  FM_ASSIGN_OR_RETURN(config.moe.capacity, keys.Int("expert_capacity", 64));
  constexpr IntRange kBuckets = {4, 1 << 16};
  FM_ASSIGN_OR_RETURN(config.position_buckets,
                      keys.Int("relative_attention_num_buckets", 32, kBuckets));
  FM_ASSIGN_OR_RETURN(
      config.position_distance,
      keys.Int("relative_attention_max_distance", 128, {config.position_buckets / 2 + 1, 1 << 20}));
  return absl::OkStatus();
}

GateConfig SwitchGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.top_k = 1;
  gate.normalize = Normalize::kNone;
  gate.capacity = CapacityMode::kFixed;
  gate.capacity_fixed = config.moe.capacity;
  gate.group = CapacityGroup::kSequence;
  gate.priority = Priority::kTokenMajor;
  return gate;
}

AttentionNames T5Attention(const std::string& prefix) {
  return {.q = prefix + "q", .k = prefix + "k", .v = prefix + "v", .o = prefix + "o"};
}

// `ffn` is the number of the block's feed-forward layer.
LayerNames BlockNames(const std::string& prefix, int ffn) {
  const std::string self = prefix + "layer.0.";
  const std::string mlp = fmt::format("{}layer.{}.mlp.", prefix, ffn);
  LayerNames names;
  names.input_norm = self + "layer_norm";
  names.attention = T5Attention(self + "SelfAttention.");
  names.position_bias = self + "SelfAttention.relative_attention_bias.weight";
  names.ffn_norm = fmt::format("{}layer.{}.layer_norm", prefix, ffn);
  names.dense_up = mlp + "wi";
  names.dense_down = mlp + "wo";
  names.moe = {
      .router = mlp + "router.classifier.weight",
      .router_bias = mlp + "router.classifier.bias",
      .experts = {
          .prefix = mlp, .gate = "wi.weight", .down = "wo.weight", .stem = "experts.expert_"}};
  return names;
}

LayerNames EncoderNames(const std::string& prefix) { return BlockNames(prefix, 1); }

LayerNames DecoderNames(const std::string& prefix) {
  LayerNames names = BlockNames(prefix, 2);
  names.cross_norm = prefix + "layer.1.layer_norm";
  names.cross = T5Attention(prefix + "layer.1.EncDecAttention.");
  return names;
}

EndNames Ends() {
  return {.embedding = "shared.weight",
          .final_norm = "decoder.final_layer_norm",
          .head = "lm_head",
          .encoder_norm = "encoder.final_layer_norm",
          .encoder_embedding = "encoder.embed_tokens.weight",
          .decoder_embedding = "decoder.embed_tokens.weight"};
}

constexpr std::string_view kUnused[] = {"encoder.embed_tokens.weight",
                                        "decoder.embed_tokens.weight", "shared.weight"};

}  // namespace

const Family kSwitchTransformers = {
    .config = {.architecture = "SwitchTransformersForConditionalGeneration",
               .model_type = "switch_transformers",
               .vocab = 32128,
               .hidden = 768,
               .intermediate = 2048,
               .layers = 12,
               .heads = 12,
               .max_positions = 512,
               .head_dim = 64,
               .own_rope = true,
               .eos = 1,
               .tied_embeddings = true,
               .activation = Activation::kRelu,
               .experts = 8,
               .top_k = 1,
               .dense = DenseRule::kOwn,
               .aliases = kAliases,
               .fixed = kFixed,
               .absent_keys = kKeysOfDecodersAlone,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = EncoderNames,
    .end_names = Ends,
    .layers = "encoder.block.",
    .decoder_names = DecoderNames,
    .decoder_layers = "decoder.block.",
    .gate = SwitchGate,
    .unused = kUnused,
};

}  // namespace folkmoot
