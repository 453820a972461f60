// SPDX-License-Identifier: Apache-2.0
#include "layers/models/deepseek_v4_names.h"

namespace folkmoot {
namespace {

CompressorNames AuthorsCompressor(const std::string& prefix) {
  return {.values = prefix + "wkv",
          .gates = prefix + "wgate",
          .norm = prefix + "norm",
          .bias = prefix + "ape"};
}

HyperNames AuthorsStreams(const std::string& stem) {
  return {.weights = stem + "_fn", .base = stem + "_base", .scale = stem + "_scale"};
}

CompressorNames UsualCompressor(const std::string& prefix) {
  return {.values = prefix + "kv_proj",
          .gates = prefix + "gate_proj",
          .norm = prefix + "kv_norm",
          .bias = prefix + "position_bias"};
}

HyperNames UsualStreams(const std::string& stem) {
  return {.weights = stem + "fn", .base = stem + "base", .scale = stem + "scale"};
}

}  // namespace

LayerNames AuthorsLayerNames(const std::string& prefix) {
  const std::string attention = prefix + "attn.";
  const std::string ffn = prefix + "ffn.";
  LayerNames names;
  names.input_norm = prefix + "attn_norm";
  names.ffn_norm = prefix + "ffn_norm";
  names.attention_streams = AuthorsStreams(prefix + "hc_attn");
  names.ffn_streams = AuthorsStreams(prefix + "hc_ffn");
  names.attention = {.o = attention + "wo_b",
                     .sinks = attention + "attn_sink",
                     .q_a = attention + "wq_a",
                     .q_a_norm = attention + "q_norm",
                     .q_b = attention + "wq_b",
                     .index_q = attention + "indexer.wq_b",
                     .index_weights = attention + "indexer.weights_proj",
                     .rows = attention + "wkv",
                     .rows_norm = attention + "kv_norm",
                     .o_a = attention + "wo_a",
                     .compressor = AuthorsCompressor(attention + "compressor."),
                     .index_compressor = AuthorsCompressor(attention + "indexer.compressor.")};
  names.moe = {.router = ffn + "gate.weight",
               .selection_bias = ffn + "gate.bias",
               .token_table = ffn + "gate.tid2eid",
               .experts = {.prefix = ffn,
                           .gate = "w1.weight",
                           .up = "w3.weight",
                           .down = "w2.weight",
                           .packed_gate_up = ffn + "experts.gate_up_proj",
                           .packed_down = ffn + "experts.down_proj"},
               .shared_prefix = ffn + "shared_experts.",
               .shared_as_experts = true};
  return names;
}

EndNames AuthorsEndNames() {
  return {.embedding = "embed.weight",
          .final_norm = "norm",
          .head = "head",
          .streams = AuthorsStreams("hc_head")};
}

LayerNames TransformersLayerNames(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention_streams = UsualStreams(prefix + "attn_hc.");
  names.ffn_streams = UsualStreams(prefix + "ffn_hc.");
  names.attention.q_a_norm = attention + "q_a_norm";
  names.attention.rows = attention + "kv_proj";
  names.attention.rows_norm = attention + "kv_norm";
  names.attention.o_a = attention + "o_a_proj";
  names.attention.o = attention + "o_b_proj";
  names.attention.compressor = UsualCompressor(attention + "compressor.");
  names.attention.index_compressor = UsualCompressor(attention + "compressor.indexer.");
  names.attention.index_q = attention + "compressor.indexer.q_b_proj";
  names.attention.index_weights = attention + "compressor.indexer.scorer.weights_proj";
  names.moe.token_table = prefix + "mlp.gate.tid2eid";
  return names;
}

EndNames TransformersEndNames() {
  EndNames names = UsualEndNames();
  names.streams = UsualStreams("model.hc_head.hc_");
  return names;
}

LayerNames MixedLayerNames(const std::string& prefix) {
  LayerNames names = AuthorsLayerNames(prefix);
  names.attention.rows_norm = prefix + "attn.norm";
  return names;
}

EndNames MixedEndNames() {
  EndNames names = TransformersEndNames();
  names.head = "head";
  return names;
}

}  // namespace folkmoot
