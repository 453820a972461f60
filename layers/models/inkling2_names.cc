// SPDX-License-Identifier: Apache-2.0
#include "layers/models/inkling2_names.h"

#include <charconv>

namespace folkmoot {
namespace {

constexpr std::string_view kLayers = "layers.";

// "model." of "model.layers.3.".
std::string Above(const std::string& prefix) { return prefix.substr(0, prefix.rfind(kLayers)); }

// Queries of all layers stand beside each other, and the first layer has none for its attention.
void SetPublishedQueries(const std::string& prefix, LayerNames& names) {
  const std::string above = Above(prefix);
  int64_t index = 0;
  if (above.size() < prefix.size()) {
    const char* const number = prefix.data() + above.size() + kLayers.size();
    std::from_chars(number, prefix.data() + prefix.size(), index);
  }
  names.attention_query = fmt::format("{}attn_res.attn_queries.{}", above, index - 1);
  names.ffn_query = fmt::format("{}attn_res.mlp_queries.{}", above, index);
  names.message_queries = above + "middle_cycle_cross_pass_queries";
  names.message_kv_queries = above + "middle_cycle_cross_pass_kv_queries";
}

MessageGateNames PublishedGate(const std::string& stem) {
  return {stem + "down_weight", stem + "forget_weight", stem + "gain_weight"};
}

EndNames WithMixture(EndNames names, const std::string& prefix) {
  names.embedding_norm = prefix + "embed_tokens.embed_norm";
  names.final_query = prefix + "final_input.query";
  return names;
}

}  // namespace

LayerNames Inkling2Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  LayerNames names = UsualLayerNames(prefix);
  names.q_input_norm = prefix + "q_input_layernorm";
  names.k_input_norm = prefix + "k_input_layernorm";
  names.v_input_norm = prefix + "v_input_layernorm";
  names.attention_query = prefix + "attention_input.query";
  names.ffn_query = prefix + "mlp_input.query";
  names.attention_convolution = prefix + "post_attention_convolution.conv1d";
  names.ffn_convolution = prefix + "post_mlp_convolution.conv1d";
  names.attention.q = attention + "q_proj.linear";
  names.attention.k = attention + "k_proj.linear";
  names.attention.v = attention + "v_proj.linear";
  names.attention.o = attention + "o_proj.linear";
  names.attention.gate = attention + "o_proj.gate_proj";
  names.attention.sinks_of = attention + "sink_proj";
  names.attention.q_factors = attention + "q_proj.norm.scale";
  names.attention.k_convolution = attention + "k_proj.sconv.conv1d";
  names.attention.v_convolution = attention + "v_proj.sconv.conv1d";
  names.attention.k_kernel = attention + "k_proj.sconv.static_weight";
  names.attention.v_kernel = attention + "v_proj.sconv.static_weight";
  names.attention.k_taps = attention + "k_proj.sconv.weight_proj.weight";
  names.attention.v_taps = attention + "v_proj.sconv.weight_proj.weight";
  names.attention.mixes = attention + "relative_position_bias.linear";
  names.attention.mix_factors = attention + "relative_position_bias.norm.scale";
  names.attention.profiles = attention + "relative_position_bias.proj";
  names.moe.experts.always_packed = true;
  const auto gate = [&](const std::string& of) -> MessageGateNames {
    const std::string stem = prefix + of + "_message_gate.";
    return {stem + "down_proj.weight", stem + "forget_gate_proj.weight",
            stem + "message_gate_proj.weight"};
  };
  names.q_gate = gate("q");
  names.k_gate = gate("k");
  names.v_gate = gate("v");
  names.ffn_gate = gate("mlp");
  names.message_queries = Above(prefix) + "message_input.query";
  return names;
}

EndNames Inkling2TextEnds() { return WithMixture(UsualEndNames(), "model."); }
EndNames Inkling2InnerEnds() {
  return WithMixture(InnerLanguageModelEndNames(), "model.language_model.");
}

LayerNames PublishedInkling2Names(const std::string& prefix) {
  const std::string attention = prefix + "attn.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = Inkling2Names(prefix);
  SetPublishedQueries(prefix, names);
  names.input_norm = prefix + "attn_norm";
  names.q_input_norm = prefix + "q_input_norm";
  names.k_input_norm = prefix + "k_input_norm";
  names.v_input_norm = prefix + "v_input_norm";
  names.ffn_norm = prefix + "mlp_norm";
  names.attention_convolution = prefix + "attn_sconv";
  names.ffn_convolution = prefix + "mlp_sconv";
  names.attention.q = attention + "wq_du";
  names.attention.k = attention + "wk_dv";
  names.attention.v = attention + "wv_dv";
  names.attention.o = attention + "wo_ud";
  names.attention.gate = attention + "gate_attn";
  names.attention.sinks_of = attention + "attn_sink_proj";
  names.attention.q_factors = attention + "q_l2_clip.scale";
  names.attention.k_convolution = attention + "k_sconv";
  names.attention.v_convolution = attention + "v_sconv";
  names.attention.k_kernel = attention + "k_sconv.static_w";
  names.attention.v_kernel = attention + "v_sconv.static_w";
  names.attention.k_taps = attention + "k_sconv.weight_proj";
  names.attention.v_taps = attention + "v_sconv.weight_proj";
  names.attention.mixes = attention + "wr_du";
  names.attention.mix_factors = attention + "rel_l2_clip.scale";
  names.attention.profiles = attention + "rel_logits_proj.proj";
  names.moe.selection_bias = mlp + "gate.bias";
  names.moe.experts.packed_gate_up = mlp + "experts.w13_weight";
  names.moe.experts.packed_down = mlp + "experts.w2_weight";
  names.moe.experts.taking_turns = true;
  names.q_gate = PublishedGate(prefix + "controllers.attn.");
  names.k_gate = PublishedGate(prefix + "controllers.k.");
  names.v_gate = PublishedGate(prefix + "controllers.v.");
  names.ffn_gate = PublishedGate(prefix + "controllers.mlp.");
  return names;
}

EndNames PublishedInkling2Ends() {
  EndNames names = {"model.llm.embed.weight", "model.llm.norm", "model.llm.unembed"};
  names.embedding_norm = "model.llm.embed_norm";
  names.final_query = "model.llm.attn_res.output_query";
  return names;
}

}  // namespace folkmoot
