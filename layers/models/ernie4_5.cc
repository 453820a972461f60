// SPDX-License-Identifier: Apache-2.0
// ERNIE 4.5 with experts (Baidu 2025): a llama whose rotations turn neighbours, experts chosen by
// biased softmax scores beside shared ones. Layers for multi-token prediction are not used.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"num_experts", "moe_num_experts"},
                                 {"num_experts_per_tok", "moe_k"}};
constexpr FixedKey kFixed[] = {{"moe_gate", "\"topk\""},
                               {"moe_gate", "\"topk_fused\""},
                               {"moe_use_aux_free", "true"},
                               {"use_rmsnorm", "true"},
                               {"compression_ratio", "1"}};
constexpr std::string_view kOwnKeys[] = {"moe_num_shared_experts",
                                         "moe_layer_start_index",
                                         "moe_layer_end_index",
                                         "moe_layer_interval",
                                         "moe_norm_min",
                                         "use_bias",
                                         "moe_capacity",
                                         "num_nextn_predict_layers",
                                         "freq_allocation",
                                         "fuse_rope",
                                         "fuse_linear",
                                         "use_flash_attention"};
constexpr std::string_view kUnused[] = {"model.mtp_block.", "model.mtp_emb_norm.",
                                        "model.mtp_hidden_norm.", "model.mtp_linear_proj."};

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  const auto layers = static_cast<int64_t>(config.layers.size());
  FM_ASSIGN_OR_RETURN(const int64_t start, keys.Int("moe_layer_start_index", 1, {0, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(int64_t end, keys.Int("moe_layer_end_index", -1, {-1, INT32_MAX}));
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int("moe_layer_interval", 1));
  if (end == -1) end = layers - 1;
  for (int64_t i = 0; i < layers; ++i) {
    config.layers[static_cast<size_t>(i)].moe = (i + 1) % interval == 0 && start <= i && i <= end;
  }
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLayers(keys, config));
  FM_ASSIGN_OR_RETURN(const int64_t shared, keys.Int("moe_num_shared_experts", 2, {0, 1 << 10}));
  config.moe.shared_intermediate = shared * config.moe.intermediate;
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.norm_min, keys.Number("moe_norm_min", 1e-12, 0.0));
  FM_ASSIGN_OR_RETURN(config.mlp_bias, keys.Bool("use_bias", false));
  config.qkv_bias = config.output_bias = config.head_bias = config.mlp_bias;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.selection_bias = prefix + "mlp.moe_statics.e_score_correction_bias";
  names.moe.packed_selection_bias = prefix + "mlp.gate.moe_statics.e_score_correction_bias";
  names.moe.selection_bias_is_row = true;
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.norm_eps = config.moe.norm_min;
  gate.norm_eps_mode = NormEpsMode::kClamp;
  return gate;
}

}  // namespace

const Family kErnie45Moe = {
    .config = {.architecture = "Ernie4_5_MoeForCausalLM",
               .model_type = "ernie4_5_moe",
               .vocab = 103424,
               .hidden = 2560,
               .intermediate = 12288,
               .layers = 28,
               .heads = 20,
               .kv_heads = 4,
               .max_positions = 131072,
               .rms_norm_eps = 1e-5,
               .rope_theta = 5e5,
               .rope_neighbours = true,
               .eos = 2,
               .tied_embeddings = true,
               .kv_heads_null = false,
               .experts = 64,
               .top_k = 6,
               .moe_intermediate = 1536,
               .dense = DenseRule::kOwn,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = PublishedGate,
    .unused = kUnused,
};

}  // namespace folkmoot
