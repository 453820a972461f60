// SPDX-License-Identifier: Apache-2.0
// Mellum 2 (JetBrains 2026): Qwen3-MoE of which layers with a window have rotations of their own.
// The layer for multi-token prediction is not used.
#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

// Read; then those of multi-token prediction, and those of files made from Qwen3's, which nobody
// reads.
constexpr std::string_view kOwnKeys[] = {
    "sliding_window",  "mlp_layer_types",     "num_mtp_layers",     "num_nextn_predict_layers",
    "mtp_layer_types", "mtp_mlp_layer_types", "use_sliding_window", "max_window_layers"};
constexpr std::string_view kUnused[] = {"mtp."};
constexpr FixedKey kFixed[] = {{"decoder_sparse_step", "1"}, {"mlp_only_layers", "[]"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadSlidingLayers(
      keys, 1024, [](size_t) { return false; }, config));
  FM_ASSIGN_OR_RETURN(const bool in_use, keys.Bool("use_sliding_window", true));
  for (size_t i = 0; i < config.layers.size() && !in_use; ++i) {
    if (config.layers[i].sliding_window == 0) continue;
    return keys.Wrong("use_sliding_window", fmt::format("layer {} slides by layer_types", i));
  }
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadLayerRopes(keys, {}, {.theta = 5e5}, {.theta = 1e4}, config));
  return CheckThetas(keys, config);
}

}  // namespace

const Family kMellum = {
    .config = {.architecture = "MellumForCausalLM",
               .model_type = "mellum",
               .vocab = 98304,
               .hidden = 2304,
               .intermediate = 7168,
               .layers = 28,
               .heads = 32,
               .kv_heads = 4,
               .max_positions = 131072,
               .head_dim = 128,
               .own_rope = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 64,
               .top_k = 8,
               .moe_intermediate = 896,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = TopKGate,
    .unused = kUnused,
};

}  // namespace folkmoot
