// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V2, V2.5, Coder-V2 and their Lite versions (arXiv 2405.04434): latent attention, leading
// dense layers, experts chosen by softmax scores, in groups or not, beside shared ones.
#include "layers/models/deepseek_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"n_group",          "topk_group",  "routed_scaling_factor",
                                         "n_shared_experts", "topk_method", "ep_size",
                                         "aux_loss_alpha",   "seq_aux"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"scoring_func", "\"softmax\""}, {"moe_layer_freq", "1"}, {"rope_interleave", "true"}};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  if (config.moe.top_k == 0) {
    return source.keys.Wrong("num_experts_per_tok", "this architecture has no default for it");
  }
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  FM_ASSIGN_OR_RETURN(const auto method, source.keys.OptionalString("topk_method"));
  const bool grouped = method == "group_limited_greedy";
  if (!grouped && method.value_or("greedy") != "greedy") {
    return source.keys.Wrong("topk_method", "known: greedy, group_limited_greedy");
  }
  if (grouped && !(source.keys.HasValue("n_group") && source.keys.HasValue("topk_group"))) {
    return source.keys.Wrong("topk_method", "it needs n_group and topk_group");
  }
  // Without groups their keys are not read, whatever they say.
  if (grouped) FM_RETURN_IF_ERROR(ReadGroups(source.keys, {.smallest = 1}, config.moe));
  return ReadScaledAndShared(source.keys, 1.0, 2, config.moe);
}

// As the authors have it: normalised weights are not scaled.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.n_group = static_cast<int>(config.moe.groups);
  gate.topk_group = static_cast<int>(config.moe.chosen_groups);
  gate.normalize = Normalize::kNone;
  if (!config.moe.norm_topk_prob || config.moe.top_k == 1) return gate;
  gate.normalize = Normalize::kBeforeDrop;
  gate.norm_eps = 1e-20;
  gate.scale = 1.0;
  return gate;
}

}  // namespace

const Family kDeepseekV2 = {
    .config = {.architecture = "DeepseekV2ForCausalLM",
               .model_type = "deepseek_v2",
               .vocab = 102400,
               .hidden = 4096,
               .intermediate = 11008,
               .layers = 32,
               .heads = 32,
               .max_positions = 2048,
               .head_dim = 192,
               .rope_neighbours = true,
               .latent_rope_dim = 64,
               .eos = 2,
               .bias = BiasRule::kAttentionKey,
               .experts = 64,
               .moe_intermediate = 1407,
               .dense = DenseRule::kFirst,
               .norm_topk_key = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = PublishedGate,
};

}  // namespace folkmoot
