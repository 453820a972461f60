// SPDX-License-Identifier: Apache-2.0
#include "layers/layer_names.h"

namespace folkmoot {

LayerNames UsualLayerNames(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names;
  names.input_norm = prefix + "input_layernorm";
  names.ffn_norm = prefix + "post_attention_layernorm";
  names.attention = {.q = attention + "q_proj",
                     .k = attention + "k_proj",
                     .v = attention + "v_proj",
                     .o = attention + "o_proj",
                     .q_norm = attention + "q_norm",
                     .k_norm = attention + "k_norm",
                     .sinks = attention + "sinks",
                     .q_a = attention + "q_a_proj",
                     .q_a_norm = attention + "q_a_layernorm",
                     .q_b = attention + "q_b_proj",
                     .kv_a = attention + "kv_a_proj_with_mqa",
                     .kv_a_norm = attention + "kv_a_layernorm",
                     .kv_b = attention + "kv_b_proj"};
  names.dense_prefix = mlp;
  names.moe = {.router = mlp + "gate.weight",
               .selection_bias = mlp + "gate.e_score_correction_bias",
               .experts = {.prefix = mlp,
                           .gate = "gate_proj.weight",
                           .up = "up_proj.weight",
                           .down = "down_proj.weight",
                           .packed_gate_up = mlp + "experts.gate_up_proj",
                           .packed_down = mlp + "experts.down_proj"},
               .shared_prefix = mlp + "shared_experts."};
  return names;
}

EndNames UsualEndNames() { return {"model.embed_tokens.weight", "model.norm", "lm_head"}; }

}  // namespace folkmoot
