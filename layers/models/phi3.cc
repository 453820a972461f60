// SPDX-License-Identifier: Apache-2.0
// Phi-3, Phi-3.5 and Phi-4 (arXiv 2404.14219, 2412.08905), dense: Llama with q, k and v in one
// matrix, gate and up in another, and LongRoPE beyond the first context; in Phi-4-mini a part of
// each head turns.
#include "layers/models/family.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"resid_pdrop", "embd_pdrop"};  // of training

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  const RopeType type = config.rope.type;
  if (type != RopeType::kDefault && type != RopeType::kLongrope) {
    return keys.Wrong(keys.HasValue("rope_parameters") ? "rope_parameters" : "rope_scaling",
                      "known types: default and longrope");
  }
  constexpr std::string_view kContext = "original_max_position_embeddings";
  if (type == RopeType::kLongrope && !keys.HasValue(kContext)) {
    return keys.Wrong(kContext, "longrope needs it");
  }
  return absl::OkStatus();
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.attention.qkv = prefix + "self_attn.qkv_proj";
  names.dense_gate_up = names.dense_prefix + "gate_up_proj";
  names.dense_down = names.dense_prefix + "down_proj";
  return names;
}

}  // namespace

const Family kPhi3 = {
    .config = {.architecture = "Phi3ForCausalLM",
               .model_type = "phi3",
               .vocab = 32064,
               .hidden = 3072,
               .intermediate = 8192,
               .layers = 32,
               .heads = 32,
               .max_positions = 4096,
               .rms_norm_eps = 1e-5,
               .partial_rotary = 1.0,
               .eos = 32000,
               .window = WindowRule::kAll,
               .head_dim_null = false,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
};

}  // namespace folkmoot
