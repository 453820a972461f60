// SPDX-License-Identifier: Apache-2.0
// Cohere 2 with experts (Cohere 2026: North Mini Code): attention and FFN read the same norm;
// layers with a window rotate neighbours, others do not, but dense ones at the beginning may;
// experts chosen by logits, weighed by softmax or sigmoids, and their mean with shared ones.
#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"layer_norm_eps",
                                         "rms_norm_eps",
                                         "logit_scale",
                                         "sliding_window",
                                         "sliding_window_pattern",
                                         "mlp_layer_types",
                                         "first_k_dense_replace",
                                         "prefix_dense_intermediate_size",
                                         "prefix_dense_sliding_window_pattern",
                                         "num_shared_experts",
                                         "shared_expert_combination_strategy",
                                         "expert_selection_fn",
                                         "cache_implementation"};
// rms_norm_eps says something else where it is given.
constexpr KeyAlias kAliases[] = {{"rms_norm_eps", "layer_norm_eps"}};
constexpr FixedKey kFixed[] = {{"use_qk_norm", "false"},
                               {"use_parallel_block", "true"},
                               {"use_gated_activation", "true"},
                               {"use_embedding_sharing", "true"},
                               {"position_embedding_type", "\"rope_gptj\""},
                               {"rotary_pct", "1.0"}};
constexpr IntRange kCount = {0, INT32_MAX};

absl::Status ReadNorms(const ConfigReader& keys, ModelConfig& config) {
  const ConfigReader as_written(keys.object(), keys.prefix());
  FM_ASSIGN_OR_RETURN(const auto eps, as_written.OptionalNumber("rms_norm_eps", 0.0));
  if (!eps) return absl::OkStatus();  // LayerNorm, with layer_norm_eps
  config.norm = NormKind::kRms;
  config.rms_norm_eps = static_cast<float>(*eps);
  return absl::OkStatus();
}

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const int64_t dense, keys.Int("first_k_dense_replace", 0, kCount));
  FM_ASSIGN_OR_RETURN(const int64_t prefix_pattern,
                      keys.Int("prefix_dense_sliding_window_pattern", 1));
  FM_ASSIGN_OR_RETURN(const int64_t pattern, keys.Int("sliding_window_pattern", 4));
  const auto first = static_cast<size_t>(dense);
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 4096,
      [&](size_t i) {
        return i < first ? (static_cast<int64_t>(i) + 1) % prefix_pattern != 0
                         : (static_cast<int64_t>(i - first) + 1) % pattern != 0;
      },
      config));
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].moe = i >= first;
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  for (LayerConfig& layer : config.layers) {
    layer.rope = layer.sliding_window > 0 || (!layer.moe && prefix_pattern == 1);
  }
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kStrategy = "shared_expert_combination_strategy";
  constexpr const char* kSelection = "expert_selection_fn";
  MoeConfig& moe = config.moe;
  FM_ASSIGN_OR_RETURN(const int64_t shared, keys.Int("num_shared_experts", 0, {0, 1 << 10}));
  moe.shared_intermediate = shared * moe.intermediate;
  FM_ASSIGN_OR_RETURN(const int64_t dense,
                      keys.IntOrNull("prefix_dense_intermediate_size", 0, kWidthRange));
  if (dense > 0) config.intermediate = dense;
  FM_ASSIGN_OR_RETURN(const auto strategy, keys.OptionalString(kStrategy));
  const std::string how = strategy.value_or("average");
  if (how != "average" && how != "sum") return keys.Wrong(kStrategy, "known: average, sum");
  if (how == "average" && shared > 0) moe.output_scale = 0.5f;
  FM_ASSIGN_OR_RETURN(const auto selection, keys.OptionalString(kSelection));
  const std::string scores = selection.value_or("softmax");
  if (scores != "softmax" && scores != "sigmoid") {
    return keys.Wrong(kSelection, "known: softmax, sigmoid");
  }
  moe.sigmoid_scores = scores == "sigmoid";
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  config.parallel_blocks = true;
  FM_RETURN_IF_ERROR(ReadNorms(keys, config));
  FM_RETURN_IF_ERROR(ReadLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_ASSIGN_OR_RETURN(const double scale, keys.Number("logit_scale", 0.0625, 0.0));
  config.logits_scaling = static_cast<float>(1.0 / scale);
  return absl::OkStatus();
}

// Weights by softmax add up to 1 whatever norm_topk_prob says.
GateConfig PublishedGate(const ModelConfig& config) {
  if (!config.moe.sigmoid_scores) return SelectedSoftmaxGate(config);
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  gate.select_on = SelectOn::kLogit;
  return gate;
}

}  // namespace

const Family kCohere2Moe = {
    .config = {.architecture = "Cohere2MoeForCausalLM",
               .model_type = "cohere2_moe",
               .vocab = 256000,
               .hidden = 8192,
               .intermediate = 22528,
               .layers = 40,
               .heads = 64,
               .max_positions = 8192,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .norm = NormKind::kLayer,
               .rope_neighbours = true,
               .eos = 255001,
               .tied_embeddings = true,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .head_dim_null = false,
               .experts = 8,
               .top_k = 2,
               .dense = DenseRule::kOwn,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = PublishedGate,
};

}  // namespace folkmoot
