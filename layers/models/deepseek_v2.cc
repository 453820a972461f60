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
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  return ReadGreedyExperts(source.keys, config.moe);
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
    .gate = GreedyGate,
};

}  // namespace folkmoot
