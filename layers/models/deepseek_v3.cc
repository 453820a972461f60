// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V3 and R1 (arXiv 2412.19437), Kimi-K2 and Moonlight: latent attention, leading dense
// layers, experts chosen in groups by biased sigmoid scores. The layer for multi-token prediction
// is not used.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {
    "n_group",         "topk_group",     "routed_scaling_factor",    "n_shared_experts",
    "rope_interleave", "aux_loss_alpha", "num_nextn_predict_layers", "num_mtp_layers",
    "ep_size",         "seq_aux"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""}, {"moe_layer_freq", "1"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  FM_RETURN_IF_ERROR(ReadGroups(source.keys, {.groups = 8, .chosen = 4}, config.moe));
  FM_RETURN_IF_ERROR(ReadScaledAndShared(source.keys, 2.5, 1, config.moe));
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.rope.neighbours, source.keys.Bool("rope_interleave", true));
  return absl::OkStatus();
}

// The authors do not normalise the weight of a token's only expert.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  if (config.moe.top_k == 1) gate.normalize = Normalize::kNone;
  return gate;
}

}  // namespace

const Family kDeepseekV3 = {
    .config = {.architecture = "DeepseekV3ForCausalLM",
               .model_type = "deepseek_v3",
               .other_model_type = "kimi_k2",
               .vocab = 129280,
               .hidden = 7168,
               .intermediate = 18432,
               .layers = 61,
               .heads = 128,
               .max_positions = 4096,
               .head_dim = 192,
               .latent_rope_dim = 64,
               .eos = 1,
               .bias = BiasRule::kAttentionKey,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kFirst,
               .first_dense = 3,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = PublishedGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
