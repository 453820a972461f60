// SPDX-License-Identifier: Apache-2.0
// ZAYA1 (Zyphra 2025, arXiv 2511.17127; the files of 2026 that Transformers reads): attention whose
// queries and keys go through convolutions and are of one length, with a window and rotations of
// their own in some layers; learned scales of stream and outputs; one expert of each token, or
// none, chosen by biased probabilities of a small network.
//
// The last balancing bias, that of no expert, is the file's; Transformers 5.17 writes -1 over it.
#include <algorithm>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr const char* kTypes = "layer_types";
constexpr const char* kWindow = "sliding_window";
constexpr const char* kTopK = "num_experts_per_tok";

constexpr std::string_view kOwnKeys[] = {"sliding_window", "partial_rotary_factor",
                                         "lm_head_bias",   "router_hidden_size",
                                         "cca_time0",      "cca_time1"};
// Nobody reads them: rope_parameters decides.
constexpr std::string_view kAbsent[] = {"rope_theta", "rope_scaling",
                                        "original_max_position_embeddings"};

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::string_view kKinds[] = {"hybrid", "hybrid_sliding"};
  FM_ASSIGN_OR_RETURN(const auto window, keys.OptionalInt(kWindow, {1, INT32_MAX}));
  for (size_t i = 1; i < config.layers.size(); ++i) config.layers[i].carried_router = true;
  if (!keys.HasValue(kTypes)) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const auto kinds, ReadLayerKinds(keys, kTypes, kKinds, config.layers.size()));
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] == 0) continue;
    if (!window) return keys.Wrong(kWindow, fmt::format("layer {} slides, and needs it", i));
    config.layers[i].sliding_window = *window;
  }
  return absl::OkStatus();
}

absl::Status ReadRopes(const ConfigReader& keys, ModelConfig& config) {
  const double partial = keys.HasValue("rope_parameters") ? 1.0 : 0.5;
  FM_RETURN_IF_ERROR(ReadLayerRopes(keys, {}, {.theta = 5e6, .partial = partial},
                                    {.theta = 1e4, .partial = partial}, config,
                                    {.full = "hybrid", .local = "hybrid_sliding", .typed = true}));
  const bool slides =
      std::any_of(config.layers.begin(), config.layers.end(),
                  [](const LayerConfig& layer) { return layer.sliding_window > 0; });
  if (!slides) config.local_rope.reset();
  return absl::OkStatus();
}

absl::Status ReadAttention(const ConfigReader& keys, ModelConfig& config) {
  RecurrentConfig& recurrent = config.recurrent;
  recurrent.kind = Recurrence::kConvolvedAttention;
  recurrent.key_heads = config.kv_heads;
  FM_ASSIGN_OR_RETURN(recurrent.kernel, keys.Int("cca_time0", 2, kKernelRows));
  FM_ASSIGN_OR_RETURN(recurrent.head_kernel, keys.Int("cca_time1", 2, kKernelRows));
  config.residual.learned = true;
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  if (moe.top_k != 1) return keys.Wrong(kTopK, "each token of this architecture has one");
  FM_ASSIGN_OR_RETURN(moe.router_hidden, keys.Int("router_hidden_size", 256, kWidthRange));
  moe.norm_topk_prob = false;
  moe.selection_bias = true;
  moe.zero_experts = 1;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadRopes(keys, config));
  FM_RETURN_IF_ERROR(ReadAttention(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  FM_ASSIGN_OR_RETURN(config.head_bias, keys.Bool("lm_head_bias", false));
  return absl::OkStatus();
}

ResidualNames Residual(const std::string& module) {
  return {
      .given = {.shift = module + ".hidden_states_bias", .scale = module + ".hidden_states_scale"},
      .stream = {.shift = module + ".residual_bias", .scale = module + ".residual_scale"}};
}

LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string projection = attention + "qkv_proj.";
  const std::string router = prefix + "mlp.gate.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.q = projection + "q_proj";
  names.attention.k = projection + "k_proj";
  names.attention.v = projection + "v_proj_current";
  names.attention.v_delayed = projection + "v_proj_delayed";
  names.attention.convolution = projection + "conv_qk_depthwise";
  names.attention.head_convolution = projection + "conv_qk_grouped";
  names.attention.key_scales = attention + "qk_norm.temp";
  names.attention_residual = Residual(prefix + "post_attention_residual_scale");
  names.ffn_residual = Residual(prefix + "post_mlp_residual_scale");
  names.moe.router.clear();
  names.moe.network = {.in = router + "down_proj",
                       .norm = router + "router_mlp.norm",
                       .first = router + "router_mlp.fc1",
                       .second = router + "router_mlp.fc2",
                       .out = router + "router_mlp.out_proj",
                       .carried = router + "router_states_scale"};
  names.moe.selection_bias = router + "balancing_biases";
  names.moe.experts.always_packed = true;
  return names;
}

EndNames Ends() {
  EndNames names = UsualEndNames();
  names.embedding_scale = {.shift = "model.input_hidden_states_bias",
                           .scale = "model.input_hidden_states_scale"};
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.num_experts += static_cast<int>(config.moe.zero_experts);
  gate.zero_experts = static_cast<int>(config.moe.zero_experts);
  gate.zero_output = ZeroOutput::kNothing;
  return gate;
}

}  // namespace

const Family kZaya = {
    .config = {.architecture = "ZayaForCausalLM",
               .model_type = "zaya",
               .vocab = 262272,
               .hidden = 2048,
               .layers = 40,
               .heads = 8,
               .kv_heads = 2,
               .max_positions = 131072,
               .head_dim = 128,
               .rms_norm_eps = 1e-5,
               .own_rope = true,
               .eos = 106,
               .tied_embeddings = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kUnitScaledKeys,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 16,
               .top_k = 1,
               .moe_intermediate = 2048,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .end_names = Ends,
    .gate = PublishedGate,
};

}  // namespace folkmoot
