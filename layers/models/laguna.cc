// SPDX-License-Identifier: Apache-2.0
// Laguna (Poolside 2026): layers with a window have query heads and rotations of their own; what
// heads give is multiplied with softplus of a gate, one for each head or number; experts chosen by
// biased sigmoids of logits that may be capped, beside a shared one.
#include <algorithm>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"sliding_window",
                                         "gating",
                                         "num_attention_heads_per_layer",
                                         "mlp_layer_types",
                                         "mlp_only_layers",
                                         "moe_routed_scaling_factor",
                                         "moe_router_logit_softcapping"};
constexpr FixedKey kFixed[] = {{"moe_apply_router_weight_on_input", "false"},
                               {"norm_topk_prob", "true"},
                               {"decoder_sparse_step", "1"},
                               {"qkv_bias", "false"}};

// true or "per-head", or "per-element".
absl::Status ReadGate(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kGating = "gating";
  config.attention_gate = AttentionGate::kOwn;
  config.gate_softplus = true;
  config.gate_per_head = true;
  if (!keys.Has(kGating) || *keys.Find(kGating) == true) return absl::OkStatus();
  const nlohmann::json& value = *keys.Find(kGating);
  if (value != "per-head" && value != "per-element") {
    return keys.Wrong(kGating, "known: true, per-head, per-element");
  }
  config.gate_per_head = value == "per-head";
  return absl::OkStatus();
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  config.layers.front().moe = false;  // where mlp_layer_types is absent
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const auto dense, keys.Ints("mlp_only_layers", {0, layers - 1}));
  for (int64_t i = 0; i < layers && keys.HasValue("mlp_only_layers"); ++i) {
    const bool listed = std::find(dense.begin(), dense.end(), i) != dense.end();
    if (config.layers[static_cast<size_t>(i)].moe != listed) continue;
    return keys.Wrong("mlp_only_layers",
                      fmt::format("it contradicts mlp_layer_types, which counts, at layer {}", i));
  }
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("moe_routed_scaling_factor", 1, 0));
  FM_ASSIGN_OR_RETURN(config.moe.router_softcap,
                      keys.Float("moe_router_logit_softcapping", 0, kBelowZero));
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  constexpr const char* kHeads = "num_attention_heads_per_layer";
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 512, [](size_t) { return false; }, config));
  FM_ASSIGN_OR_RETURN(const auto heads, ReadLayerInts(keys, kHeads, {1, 1 << 16}, config));
  for (size_t i = 0; i < heads.size(); ++i) {
    FM_RETURN_IF_ERROR(SetHeads(keys, kHeads, heads[i], config, config.layers[i]));
  }
  FM_RETURN_IF_ERROR(ReadGate(keys, config));
  FM_RETURN_IF_ERROR(ReadExperts(keys, config));
  const bool given = keys.HasValue("rope_parameters");
  FM_RETURN_IF_ERROR(ReadLayerRopes(keys, {}, {.theta = 5e5, .partial = given ? 1.0 : 0.5},
                                    {.theta = 1e4, .partial = 1.0}, config));
  return CheckThetas(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.gate = prefix + "self_attn.g_proj";
  names.moe.packed_selection_bias = names.moe.selection_bias;
  names.moe.selection_bias = mlp + "experts.e_score_correction_bias";
  names.moe.shared_prefix = mlp + "shared_expert.";
  return names;
}

}  // namespace

const Family kLaguna = {
    .config = {.architecture = "LagunaForCausalLM",
               .model_type = "laguna",
               .vocab = 100352,
               .hidden = 2048,
               .intermediate = 8192,
               .layers = 40,
               .heads = 48,
               .kv_heads = 8,
               .max_positions = 131072,
               .head_dim = 128,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 512,
               .shared_intermediate = 512,
               .dense = DenseRule::kOwn,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
};

}  // namespace folkmoot
