// SPDX-License-Identifier: Apache-2.0
// Beam (Reflection AI 2026): layers with a window rotate q and k, every sixth sees all of the past
// and does not, but has queries that grow with their position; what heads give is gated by sigmoids
// of the layer's input; norms before and after attention and FFN, and a residual scaled by depth.
// Experts are chosen as in DeepSeek-V3; what they give together is scaled.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr const char* kRopes = "rope_parameters";
constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";

constexpr std::string_view kOwnKeys[] = {
    "sliding_window", "mlp_layer_types",       "n_group",
    "topk_group",     "routed_scaling_factor", "final_logit_softcapping"};
// Nobody reads them: rope_parameters decides.
constexpr std::string_view kAbsent[] = {"rope_theta", "rope_scaling",
                                        "original_max_position_embeddings"};

// An entry for each kind of layer; null: it does not turn. Where one kind alone turns, its rotation
// is that of the model.
absl::Status ReadRopes(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLayerRopes(keys, {}, {}, {}, config, {.typed = true}));
  const bool given = keys.HasValue(kRopes);
  const nlohmann::json usual = {{kSliding, true}, {kFull, nullptr}};
  const nlohmann::json& ropes = given ? *keys.Find(kRopes) : usual;
  const auto turns = [&ropes](const char* kind) {
    return ropes.contains(kind) && !ropes[kind].is_null();
  };
  for (LayerConfig& layer : config.layers) {
    const char* const kind = layer.sliding_window > 0 ? kSliding : kFull;
    if (!ropes.contains(kind)) {
      return keys.Wrong(kRopes, fmt::format("without an entry {} it does not say how those layers "
                                            "turn; null: not at all",
                                            kind));
    }
    layer.rope = turns(kind);
    layer.local_rope = layer.rope && layer.local_rope && turns(kFull);
  }
  if (!turns(kFull)) config.rope = *config.local_rope;
  if (!turns(kFull) || !turns(kSliding)) config.local_rope.reset();
  config.temperature = {.scale = 0.1f, .floor = 2048.0f, .rule = TemperatureRule::kPower};
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  constexpr size_t kDense = 3;
  for (size_t i = 0; i < config.layers.size(); ++i) config.layers[i].moe = i >= kDense;
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  config.moe.selection_bias = true;
  FM_RETURN_IF_ERROR(ReadGroups(keys, {.groups = 8, .chosen = 4}, config.moe));
  FM_ASSIGN_OR_RETURN(config.moe.output_scale, keys.Float("routed_scaling_factor", 2.5f, 0.0));
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const size_t last = config.layers.size() - 1;
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 512, [last](size_t i) { return (i + 1) % 6 != 0 && i != last; }, config));
  FM_RETURN_IF_ERROR(ReadRopes(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  config.attention_gate = AttentionGate::kOwn;
  config.gate_bias = true;
  config.post_norms = true;
  config.residual.by_depth = true;
  FM_ASSIGN_OR_RETURN(config.logits_softcap,
                      keys.FloatOrNull("final_logit_softcapping", 30.0f, 0.0));
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention.gate_bias = prefix + "self_attn.gate_bias";
  names.attention_post_norm = prefix + "post_attention_layernorm";
  names.ffn_norm = prefix + "pre_feedforward_layernorm";
  names.ffn_post_norm = prefix + "post_feedforward_layernorm";
  return names;
}

}  // namespace

const Family kBeam = {
    .config = {.architecture = "BeamForCausalLM",
               .model_type = "beam",
               .vocab = 151936,
               .hidden = 5120,
               .intermediate = 20480,
               .layers = 52,
               .heads = 48,
               .kv_heads = 8,
               .max_positions = 8192,
               .head_dim = 128,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 2560,
               .dense = DenseRule::kOwn,
               .norm_topk_key = true,
               .norm_topk = true,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
};

}  // namespace folkmoot
