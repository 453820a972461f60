// SPDX-License-Identifier: Apache-2.0
// K-EXAONE (LG AI Research 2025): the experts of DeepSeek-V3; layers with a window rotate q and k,
// those that see all of the past do not. The layers for multi-token prediction are not used.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"n_shared_experts", "num_shared_experts"}};
constexpr FixedKey kFixed[] = {{"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""}};
constexpr std::string_view kOwnKeys[] = {"n_group",
                                         "topk_group",
                                         "routed_scaling_factor",
                                         "num_shared_experts",
                                         "mlp_layer_types",
                                         "sliding_window_pattern",
                                         "num_nextn_predict_layers"};
constexpr std::string_view kUnused[] = {"mtp."};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.5, 1, config.moe));
  if (keys.Has("sliding_window") && !keys.HasValue("sliding_window")) {
    return keys.Wrong("sliding_window", "it must be a number, if only one that no layer uses");
  }
  for (LayerConfig& layer : config.layers) layer.rope = layer.sliding_window > 0;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.packed_selection_bias = names.moe.selection_bias;
  names.moe.selection_bias = prefix + "mlp.e_score_correction_bias";
  return names;
}

}  // namespace

const Family kExaoneMoe = {
    .config = {.architecture = "ExaoneMoeForCausalLM",
               .other_architecture = "ExaoneMoEForCausalLM",
               .model_type = "exaone_moe",
               .vocab = 102400,
               .hidden = 4096,
               .intermediate = 16384,
               .layers = 32,
               .heads = 32,
               .kv_heads = 32,
               .max_positions = 2048,
               .rms_norm_eps = 1e-5,
               .eos = 53,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kAllButNth,
               .window_size = 4096,
               .window_pattern = 4,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 64,
               .top_k = 8,
               .moe_intermediate = 1024,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = BiasedSigmoidGate,
    .unused = kUnused,
};

}  // namespace folkmoot
