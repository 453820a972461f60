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
  FM_ASSIGN_OR_RETURN(const auto clip, source.keys.OptionalNumber("clip_qkv", 0.0));
  config.clip_qkv = static_cast<float>(clip.value_or(0.0));
  config.qk_norm_rows = true;
  return absl::OkStatus();
}

MoeNames Names(const std::string& prefix) {
  const std::string block = prefix + "mlp.";
  return {.router = block + "gate.weight",
          .experts = {.prefix = block,
                      .gate = "gate_proj.weight",
                      .up = "up_proj.weight",
                      .down = "down_proj.weight",
                      .packed_gate_up = block + "experts.gate_up_proj",
                      .packed_down = block + "experts.down_proj"}};
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate;
  gate.num_experts = static_cast<int>(config.moe.experts);
  gate.top_k = static_cast<int>(config.moe.top_k);
  gate.normalize = config.moe.norm_topk_prob ? Normalize::kBeforeDrop : Normalize::kNone;
  return gate;
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
               .qk_norm = true,
               .experts = 64,
               .top_k = 8,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .own_keys = kOwnKeys,
               .read = Read},
    .moe_names = Names,
    .gate = PublishedGate,
};

}  // namespace folkmoot
