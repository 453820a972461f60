// SPDX-License-Identifier: Apache-2.0
// NLLB-MoE (NLLB Team 2022, fairseq): a Transformer with sinusoidal positions, LayerNorm and the
// two best experts of each token in every n-th layer. Capacity is counted per source; Transformers
// 5 runs experts 0 and 1 only, whatever the router says (docs/adr/0022).
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "layers/models/encoder_parts.h"
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"hidden_size", "d_model"},
                                 {"intermediate_size", "decoder_ffn_dim"},
                                 {"num_hidden_layers", "encoder_layers", true},
                                 {"num_attention_heads", "decoder_attention_heads"},
                                 {"hidden_act", "activation_function"}};

constexpr std::array<std::string_view, 17> kOwnKeys = {"is_encoder_decoder",
                                                       "encoder_attention_heads",
                                                       "encoder_ffn_dim",
                                                       "decoder_layers",
                                                       "encoder_sparse_step",
                                                       "decoder_sparse_step",
                                                       "scale_embedding",
                                                       "router_bias",
                                                       "expert_capacity",
                                                       "second_expert_policy",
                                                       "moe_token_dropout",
                                                       "normalize_router_prob_before_dropping",
                                                       "decoder_start_token_id",
                                                       "batch_prioritized_routing",
                                                       "forced_bos_token_id",
                                                       "moe_eval_capacity_token_fraction",
                                                       "router_ignore_padding_tokens"};

constexpr FixedKey kFixed[] = {{"router_type", "\"tokens_masked\""},
                               {"output_past", "true"},
                               {"router_dtype", "\"float32\""},
                               {"add_router_probs", "false"},
                               {"add_router_probs", "true"}};

constexpr auto kAbsentKeys = [] {
  std::array<std::string_view, kKeysOfDecodersAlone.size() + 2> keys = {"head_dim", "rms_norm_eps"};
  std::copy(kKeysOfDecodersAlone.begin(), kKeysOfDecodersAlone.end(), keys.begin() + 2);
  return keys;
}();

absl::Status MarkSparse(const ConfigReader& keys, std::string_view key,
                        std::span<LayerConfig> layers) {
  FM_ASSIGN_OR_RETURN(const int64_t step, keys.Int(key, 4, {0, INT32_MAX}));
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].moe = step > 0 && static_cast<int64_t>(i + 1) % step == 0;
  }
  return absl::OkStatus();
}

absl::Status ReadRouter(const ConfigReader& keys, MoeConfig& moe) {
  FM_ASSIGN_OR_RETURN(moe.router_bias, keys.Bool("router_bias", false));
  FM_ASSIGN_OR_RETURN(moe.capacity, keys.Int("expert_capacity", 64));
  FM_ASSIGN_OR_RETURN(moe.capacity_fraction, keys.Number("moe_eval_capacity_token_fraction", 1.0,
                                                         std::numeric_limits<double>::lowest()));
  FM_ASSIGN_OR_RETURN(moe.batch_prioritized, keys.Bool("batch_prioritized_routing", false));
  FM_ASSIGN_OR_RETURN(moe.norm_topk_prob,
                      keys.Bool("normalize_router_prob_before_dropping", false));
  FM_ASSIGN_OR_RETURN(const double dropout, keys.Number("moe_token_dropout", 0.2, kBelowZero));
  if (dropout >= 1) return keys.Wrong("moe_token_dropout", "it must be less than 1");
  moe.routed_scaling = 1.0 - dropout;
  FM_ASSIGN_OR_RETURN(const auto policy, keys.OptionalString("second_expert_policy"));
  const std::string name = policy.value_or("all");
  if (name == "all") {
    moe.second_expert = SecondExpert::kAlways;
  } else if (name == "random") {
    moe.second_expert = SecondExpert::kRandom;
  } else if (name == "sampling") {
    moe.second_expert = SecondExpert::kSampled;
  } else {
    return keys.Wrong("second_expert_policy", "known: all, random, sampling");
  }
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const int64_t hidden = config.hidden;
  config.pad_id = 1;
  config.encoder.decoder_start = 2;
  FM_ASSIGN_OR_RETURN(const int64_t heads, keys.Int("encoder_attention_heads", 16, {1, hidden}));
  if (hidden % heads != 0) {
    return keys.Wrong("encoder_attention_heads",
                      fmt::format("d_model = {} must be a multiple of it", hidden));
  }
  if (hidden % 2 != 0 || hidden < 4) {
    return keys.Wrong("d_model", "sines and cosines of positions need an even number from 4 on");
  }
  FM_ASSIGN_OR_RETURN(const int64_t ffn, keys.Int("encoder_ffn_dim", 4096, kWidthRange));
  FM_ASSIGN_OR_RETURN(const int64_t layers, keys.Int("decoder_layers", 12, {1, 10000}));
  FM_RETURN_IF_ERROR(ReadEncoder(keys, heads, ffn, layers, config));
  if (config.pad_id < 0) return keys.Wrong("pad_token_id", "positions are counted from it");
  const std::span<LayerConfig> all = config.layers;
  const auto border = static_cast<size_t>(config.encoder.layers);
  FM_RETURN_IF_ERROR(MarkSparse(keys, "encoder_sparse_step", all.first(border)));
  FM_RETURN_IF_ERROR(MarkSparse(keys, "decoder_sparse_step", all.subspan(border)));
  config.sinusoidal = true;
  config.qkv_bias = config.output_bias = config.mlp_bias = config.moe.expert_bias = true;
  config.rms_norm_eps = 1e-5f;
  FM_ASSIGN_OR_RETURN(const bool scale, keys.Bool("scale_embedding", true));
  if (scale) config.embedding_multiplier = std::sqrt(static_cast<float>(hidden));
  return ReadRouter(keys, config.moe);
}

// fairseq's top2gate.py in evaluation.
GateConfig NllbGate(const ModelConfig& config) {
  const MoeConfig& moe = config.moe;
  GateConfig gate = TopKGate(config);
  gate.normalize = moe.norm_topk_prob ? Normalize::kBeforeDrop : Normalize::kAfterDrop;
  gate.norm_eps = static_cast<double>(std::numeric_limits<float>::epsilon());
  gate.norm_eps_mode = NormEpsMode::kClamp;
  if (moe.second_expert == SecondExpert::kRandom) gate.extra_policy = ExtraPolicy::kRandom;
  if (moe.second_expert == SecondExpert::kSampled) gate.extra_policy = ExtraPolicy::kSample;
  gate.extra_gate = moe.norm_topk_prob ? ExtraGate::kNormalized : ExtraGate::kRaw;
  gate.group = CapacityGroup::kSequence;
  gate.priority = moe.batch_prioritized ? Priority::kBatchPrioritized : Priority::kSlotMajor;
  gate.capacity = moe.capacity_fraction > 0 ? CapacityMode::kFraction : CapacityMode::kFixed;
  gate.capacity_factor = std::max(moe.capacity_fraction, 0.0);
  gate.capacity_fixed = moe.capacity;
  return gate;
}

LayerNames Names(const std::string& prefix) {
  const std::string ffn = prefix + "ffn.";
  LayerNames names;
  names.input_norm = prefix + "self_attn_layer_norm";
  names.attention = UsualAttentionNames(prefix + "self_attn.");
  names.attention.o = prefix + "self_attn.out_proj";
  names.ffn_norm = prefix + "ff_layer_norm";
  names.dense_up = ffn + "fc1";
  names.dense_down = ffn + "fc2";
  names.moe = {
      .router = ffn + "router.classifier.weight",
      .router_bias = ffn + "router.classifier.bias",
      .experts = {
          .prefix = ffn, .gate = "fc1.weight", .down = "fc2.weight", .stem = "experts.expert_"}};
  return names;
}

LayerNames DecoderNames(const std::string& prefix) {
  LayerNames names = Names(prefix);
  names.cross_norm = prefix + "cross_attention_layer_norm";
  names.cross = UsualAttentionNames(prefix + "cross_attention.");
  names.cross.o = prefix + "cross_attention.out_proj";
  return names;
}

EndNames Ends() {
  return {.embedding = "model.shared.weight",
          .final_norm = "model.decoder.layer_norm",
          .head = "lm_head",
          .encoder_norm = "model.encoder.layer_norm",
          .encoder_embedding = "model.encoder.embed_tokens.weight",
          .decoder_embedding = "model.decoder.embed_tokens.weight"};
}

constexpr std::string_view kUnused[] = {
    "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "model.shared.weight",
    "model.encoder.embed_positions.weights", "model.decoder.embed_positions.weights"};

}  // namespace

const Family kNllbMoe = {
    .config = {.architecture = "NllbMoeForConditionalGeneration",
               .model_type = "nllb-moe",
               .vocab = 128112,
               .hidden = 1024,
               .intermediate = 4096,
               .layers = 12,
               .heads = 16,
               .max_positions = 1024,
               .norm = NormKind::kLayer,
               .norm_bias = true,
               .own_rope = true,
               .eos = 2,
               .tied_embeddings = true,
               .activation = Activation::kRelu,
               .experts = 128,
               .top_k = 2,
               .dense = DenseRule::kOwn,
               .aliases = kAliases,
               .fixed = kFixed,
               .absent_keys = kAbsentKeys,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .layers = "model.encoder.layers.",
    .decoder_names = DecoderNames,
    .decoder_layers = "model.decoder.layers.",
    .gate = NllbGate,
    .unused = kUnused,
};

}  // namespace folkmoot
