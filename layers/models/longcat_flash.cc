// SPDX-License-Identifier: Apache-2.0
// LongCat-Flash (arXiv 2509.01322): a published layer is two blocks of latent attention and a dense
// FFN; experts, some of which give back what they get, read the first block's FFN input, and their
// output joins the stream behind the second block. The model for multi-token prediction is not
// used.
#include <cmath>

#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr KeyAlias kAliases[] = {{"num_hidden_layers", "num_layers"},
                                 {"intermediate_size", "ffn_hidden_size"},
                                 {"moe_intermediate_size", "expert_ffn_hidden_size"},
                                 {"num_experts", "n_routed_experts"},
                                 {"num_experts_per_tok", "moe_topk"}};
constexpr FixedKey kFixed[] = {
    {"router_bias", "false"},        {"zero_expert_type", "\"identity\""},
    {"attention_method", "\"MLA\""}, {"router_dtype", "\"float32\""},
    {"rope_interleave", "true"},     {"n_shared_experts", "0"}};
constexpr std::string_view kOwnKeys[] = {"mla_scale_q_lora",      "mla_scale_kv_lora",
                                         "routed_scaling_factor", "zero_expert_num",
                                         "num_hidden_layers",     "num_nextn_predict_layers"};
constexpr std::string_view kUnused[] = {"model.mtp."};

// Both blocks of a published layer.
absl::Status MakeBlocks(const ConfigReader& keys, ModelConfig& config) {
  const auto published = static_cast<int64_t>(config.layers.size());
  const ConfigReader unaliased(keys.object(), keys.prefix());
  FM_ASSIGN_OR_RETURN(const auto layers, unaliased.OptionalInt("num_hidden_layers"));
  if (layers && *layers != published && *layers != 2 * published) {
    return unaliased.Wrong("num_hidden_layers",
                           fmt::format("num_layers = {} decides; remove it", published));
  }
  config.layers.assign(static_cast<size_t>(2 * published), LayerConfig{});
  for (size_t i = 0; i < config.layers.size(); i += 2) {
    config.layers[i].moe = config.layers[i].shortcut = true;
  }
  return absl::OkStatus();
}

absl::StatusOr<float> ScaleOf(const ConfigReader& keys, std::string_view key, int64_t hidden,
                              int64_t rank) {
  FM_ASSIGN_OR_RETURN(const bool scaled, keys.Bool(key, true));
  if (!scaled) return 1.0f;
  return static_cast<float>(std::sqrt(static_cast<double>(hidden) / static_cast<double>(rank)));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(MakeBlocks(keys, config));
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  LatentConfig& latent = config.latent;
  if (latent.q_rank == 0) return keys.Wrong("q_lora_rank", "this architecture needs it");
  FM_ASSIGN_OR_RETURN(latent.q_scale,
                      ScaleOf(keys, "mla_scale_q_lora", config.hidden, latent.q_rank));
  FM_ASSIGN_OR_RETURN(latent.kv_scale,
                      ScaleOf(keys, "mla_scale_kv_lora", config.hidden, latent.kv_rank));
  FM_ASSIGN_OR_RETURN(config.moe.zero_experts, keys.Int("zero_expert_num", 256, {0, 1 << 16}));
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("routed_scaling_factor", 6.0, 0.0));
  config.moe.selection_bias = true;
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix, int block) {
  const std::string part = fmt::format(".{}", block);
  LayerNames names = UsualLayerNames(prefix);
  names.input_norm += part;
  names.ffn_norm += part;
  names.attention = UsualAttentionNames(prefix + "self_attn" + part + ".");
  names.dense_prefix = prefix + "mlps" + part + ".";
  names.moe.router = prefix + "mlp.router.classifier.weight";
  names.moe.selection_bias = prefix + "mlp.router.e_score_correction_bias";
  return names;
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.num_experts += static_cast<int>(config.moe.zero_experts);
  gate.zero_experts = static_cast<int>(config.moe.zero_experts);
  gate.norm_eps = 1e-20;
  return gate;
}

}  // namespace

const Family kLongcatFlash = {
    .config = {.architecture = "LongcatFlashForCausalLM",
               .model_type = "longcat_flash",
               .vocab = 131072,
               .hidden = 6144,
               .intermediate = 12288,
               .layers = 28,
               .heads = 64,
               .max_positions = 131072,
               .head_dim = 64,
               .rms_norm_eps = 1e-5,
               .rope_theta = 1e7,
               .rope_neighbours = true,
               .latent_rope_dim = 64,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .experts = 512,
               .top_k = 12,
               .moe_intermediate = 2048,
               .dense = DenseRule::kOwn,
               .norm_topk_key = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .block_names = Names,
    .blocks_per_layer = 2,
    .gate = PublishedGate,
    .unused = kUnused,
};

}  // namespace folkmoot
