// SPDX-License-Identifier: Apache-2.0
#include "layers/layer_names.h"

namespace folkmoot {

AttentionNames UsualAttentionNames(const std::string& prefix) {
  return {.q = prefix + "q_proj",
          .k = prefix + "k_proj",
          .v = prefix + "v_proj",
          .o = prefix + "o_proj",
          .q_norm = prefix + "q_norm",
          .k_norm = prefix + "k_norm",
          .sinks = prefix + "sinks",
          .gate = prefix + "gate_proj",
          .q_a = prefix + "q_a_proj",
          .q_a_norm = prefix + "q_a_layernorm",
          .q_b = prefix + "q_b_proj",
          .kv_a = prefix + "kv_a_proj_with_mqa",
          .kv_a_norm = prefix + "kv_a_layernorm",
          .kv_b = prefix + "kv_b_proj",
          .index_q = prefix + "indexer.wq_b",
          .index_k = prefix + "indexer.wk",
          .index_k_norm = prefix + "indexer.k_norm",
          .index_weights = prefix + "indexer.weights_proj",
          .index_pool_gates = prefix + "indexer.index_kpool_compress_gate",
          .index_pool_bias = prefix + "indexer.index_kpool_compress_ape"};
}

LayerNames UsualLayerNames(const std::string& prefix) {
  const std::string mlp = prefix + "mlp.";
  LayerNames names;
  names.input_norm = prefix + "input_layernorm";
  names.ffn_norm = prefix + "post_attention_layernorm";
  names.attention = UsualAttentionNames(prefix + "self_attn.");
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

LayerNames SharedExpertNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.shared_prefix = prefix + "mlp.shared_expert.";
  names.moe.shared_gate = prefix + "mlp.shared_expert_gate.weight";
  return names;
}

LayerNames SparseBlockNames(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = UsualLayerNames(prefix);
  MoeNames& moe = names.moe;
  moe.packed_router = moe.router;
  moe.router = block + "gate.weight";
  moe.experts.prefix = block;
  moe.experts.gate = "w1.weight";
  moe.experts.up = "w3.weight";
  moe.experts.down = "w2.weight";
  return names;
}

EndNames UsualEndNames() { return {"model.embed_tokens.weight", "model.norm", "lm_head"}; }

EndNames LanguageModelEndNames() {
  return {"language_model.model.embed_tokens.weight", "language_model.model.norm",
          "language_model.lm_head"};
}

EndNames InnerLanguageModelEndNames() {
  return {"model.language_model.embed_tokens.weight", "model.language_model.norm", "lm_head"};
}

}  // namespace folkmoot
