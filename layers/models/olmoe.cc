// SPDX-License-Identifier: Apache-2.0
// OLMoE (Muennighoff et al. 2024): every layer is MoE, softmax over all experts, top-k,
// renormalised if norm_topk_prob. q and k are normalised over all heads of a token, and q, k, v may
// be clipped.
#include <array>

#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kOwnKeys = {"clip_qkv"};

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(config.clip_qkv, source.keys.FloatOrNull("clip_qkv", 0.0f, 0.0));
  return absl::OkStatus();
}

}  // namespace

const Family kOlmoe = {
    .config = {.architecture = "OlmoeForCausalLM",
               .model_type = "olmoe",
               .vocab = 50304,
               .hidden = 2048,
               .intermediate = 2048,
               .layers = 16,
               .heads = 16,
               .max_positions = 4096,
               .rms_norm_eps = 1e-5,
               .eos = 50279,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kRows,
               .experts = 64,
               .top_k = 8,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = TopKGate,
};

}  // namespace folkmoot
