// SPDX-License-Identifier: Apache-2.0
// Where the tensors of a layer stand in a checkpoint. A module is a name that ".weight"
// and, where the model has one, ".bias" follow; other names are whole.
#pragma once

#include <cstdint>
#include <string>

namespace folkmoot {

// Of a compressor of windows (layers/window_compressor.h), modules: its values, gates and the norm
// of entries; whole: the gates' biases by place, [rate, columns].
struct CompressorNames {
  std::string values, gates, norm, bias;
};

// Of hyper-connections (layers/hyper_connection.h), whole: [outputs, n H], [outputs], and the
// outputs' scales. Of those with HyperConfig::gate_rank (layers/stream_gate.h), modules: the norms
// of streams, the two matrices of the gates, and what makes the weights by which streams take up.
struct HyperNames {
  std::string weights, base, scale;
  std::string norm, down, up, inject;
};

// Of n-grams (layers/models/ngram_inputs.h), modules: the table, whose parts have numbers
// (".shard_3"), or which is one tensor; key and value of its rows; norms of keys, of streams and of
// what the convolution sees; and this. Whole: the numbers of the hashes, which files may have.
struct NgramNames {
  std::string table, key, value, key_norm, stream_norm, convolution_norm, convolution;
  std::string multipliers, sizes, offsets;
};

// Of ModelConfig::query_scales, whole, [heads] each (layers/query_scale.h).
struct QueryScaleNames {
  std::string scale, bias;
};

struct AttentionNames {
  std::string q, k, v, o;      // modules
  std::string qkv;             // one module in place of the three, rows of q, k and v; empty: none
  std::string q_norm, k_norm;  // modules
  std::string sinks;           // [heads]
  // Convolved attention, modules: what makes the half of v that belongs to the next row, v being
  // the other; and kernels, [channels, 1, rows] and [channels, numbers of a head, rows]; whole:
  // what keys are multiplied with, [key heads], QkNormKind::kUnitScaledKeys.
  std::string v_delayed, convolution, head_convolution, key_scales;
  // Residual convolutions of k and v, modules, [channels, 1, rows]; and of RelativeConfig what
  // mixes profiles, a module of rows for all heads, and these, whole, [profiles, extent].
  std::string k_convolution, v_convolution, mixes, profiles;
  // Of ClipConfig, whole: what q and mixes are multiplied with before they are clipped, [heads,
  // numbers of a head]; and, LayerConfig::dynamic, weights of the convolutions of k and v, [rows,
  // channels], the row's own first, and what makes taps beside them, [key heads * rows, H]. A
  // module: what makes a sink of each head.
  std::string q_factors, mix_factors, sinks_of;
  std::string k_kernel, v_kernel, k_taps, v_taps;
  std::string gate;       // module; AttentionGate::kOwn
  std::string gate_bias;  // [heads]; ModelConfig::gate_bias
  // Latent attention, modules: q where it is of low rank, its norm, and what makes q of it; the
  // same of keys and values, whose first matrix has the shared rotated key too, which k_norm
  // normalises where LatentConfig::key_norm says so.
  std::string q_a, q_a_norm, q_b;
  std::string kv_a, kv_a_norm, kv_b;
  // Of an indexer, modules: q, from the latent of q or the hidden state, one key, norms of both, or
  // of that state, and weights of heads; or rows of q and then of the key in one (Qwen4-Exp).
  std::string index_q, index_k, index_q_norm, index_k_norm, index_weights;
  std::string index_qk;
  QueryScaleNames q_scale, index_q_scale;
  // IndexerConfig::pool, whole: what weighs the keys of a pool, [head_dim, H], and its biases by
  // place, [pool, head_dim].
  std::string index_pool_gates, index_pool_bias;
  // Of Mixer::kCompressed, modules beside those of q of low rank: the row of a token, its norm, and
  // the first output matrix, whose rows are those of all groups; and two compressors.
  std::string rows, rows_norm, o_a;
  CompressorNames compressor, index_compressor;
  // A mixture of heads, whole names: k and then v rows, [2 kv, H], of kv rows each; the router of E
  // experts, [E, H]; their queries, [E, kv, H], and outputs, [E, H, kv]; and the bias of the sum.
  std::string kv, router, experts_q, experts_o, experts_bias;
};

// Mixers with a state (RecurrentConfig). Modules of the delta rule's projections, in one matrix, in
// two, or each by itself (the names that are not empty say which); other mixers have one.
struct RecurrentNames {
  std::string qkvzba;        // rows of all q, all k, all v, all z, all b and all a
  std::string qkvz, ba;      // rows of one key head after the other: q, k, v, z; b, a
  std::string qkv, z, b, a;  // all q, all k, all v
  // Of Kimi Delta Attention: in place of qkv, with a convolution each; and the matrices in front of
  // a and z, both empty where there are none (Ling 3).
  std::string q, k, v;
  std::string q_convolution, k_convolution, v_convolution;
  std::string a_low, z_low;
  std::string in;           // rows of z, x, B, C and dt, or of a short convolution: B, C and x
  std::string convolution;  // module: [channels, 1, kernel], and perhaps a bias
  // Of a selective scan, modules: rows of dt, B and C, what widens dt, and norms of the three.
  std::string select, step;
  std::string step_norm, b_norm, c_norm;
  std::string rates;      // [value heads], or [channels, state] of a selective scan: logarithms
  std::string step_bias;  // [value heads]
  std::string skip;       // [value heads] or [channels]: D of a state space
  std::string norm, o;    // modules
};

// Where a family keeps its experts. The packed layout is used when its tensors exist.
struct ExpertNames {
  // One tensor per expert: prefix + "experts.5." + gate etc.
  std::string prefix;  // "model.layers.3.mlp."
  std::string gate;    // "gate_proj.weight"; of networks without a gate: their first matrix
  std::string up;
  std::string down;
  // All experts in one tensor: [E, 2I, H], gate rows first, and [E, H, I].
  std::string packed_gate_up;  // full name
  std::string packed_down;
  std::string stem = "experts.";  // behind the prefix, before an expert's number
  std::string packed_up = {};     // not empty: packed_gate_up has the gates alone (DBRX)
  bool always_packed = false;  // published only so; dummy weights are one per expert all the same
  bool taking_turns = false;   // packed rows are gate, up, gate, up, ..
  // Packed and plain (not quantised) tensors are [E, H, 2I], and [E, I, H].
  bool gate_up_transposed = false;
  bool down_transposed = false;
  bool either_way = false;  // transposed, or not: their shapes tell
  // [E, 2I], in the order of packed_gate_up's rows, and [E, H]; empty: none.
  std::string packed_gate_up_bias = {};
  std::string packed_down_bias = {};
};

// A router that is a network (MoeConfig::router_hidden; layers/router_network.h), modules: what
// makes its vectors, their norm, two hidden layers, and the outputs, a matrix without a bias;
// whole: what the vectors of the layer before are multiplied with, [R].
struct RouterNames {
  std::string in, norm, first, second, out;
  std::string carried;
};

// Tensor names of one layer's MoE block.
struct MoeNames {
  std::string router;              // [E, H]
  RouterNames network = {};        // in its place
  bool router_transposed = false;  // [H, E]
  std::string packed_router;       // in checkpoints without the first; empty: it has no other name
  std::string router_bias;         // [E]; MoeConfig::router_bias
  std::string selection_bias;      // [E]; MoeConfig::selection_bias
  std::string packed_selection_bias;  // as packed_router
  int64_t selection_bias_rows = 0;    // [so many, E], of which the first is read; 0: [E]
  std::string token_table;            // [V, K]; LayerConfig::hashed
  ExpertNames experts;
  std::string output_bias;  // [H]; MoeConfig::output_bias
  // The shared expert, if there is one: a prefix of {gate,up,down}_proj.weight, or a matrix of gate
  // and then up rows, [2S, H], and [H, S].
  std::string shared_prefix;
  bool shared_as_experts = false;  // the prefix of what experts.gate, up and down name
  bool shared_gated = true;        // false: {up,down}_proj alone, a network without a gate
  std::string shared_gate_up;
  std::string shared_down;
  // MoeConfig::shared_sinks: all shared experts, stored as experts are; in place of the above.
  ExpertNames shared_experts = {};
  std::string weight_scales;          // [E]; MoeConfig::weight_scales
  std::string weight_scale;           // [1]; MoeConfig::weight_scale
  std::string latent_in, latent_out;  // modules [L, H] and [H, L]; MoeConfig::latent
  std::string latent_norm;            // module, of rows behind the first; empty: there is none
  std::string expert_norm;            // module; MoeConfig::expert_norms
  std::string shared_gate;            // [1, H]: its sigmoid gate; empty: it has none
};

// Of a gate of messages (layers/message_gate.h), whole: [R, 2 H], and [H, R] each.
struct MessageGateNames {
  std::string down, forget, gain;
};

// Whole, [H] each (layers/learned_residual.h).
struct RowScaleNames {
  std::string shift, scale;
};

// Of what a part of a layer gives, and of the stream that it joins.
struct ResidualNames {
  RowScaleNames given, stream;
  std::string gate = {};  // whole, [H]; ResidualConfig::gate_temperature
};

struct LayerNames {
  std::string input_norm;  // modules; ModelConfig::input_norms
  std::string ffn_norm;
  std::string attention_post_norm;  // ModelConfig::post_norms
  std::string ffn_post_norm;
  AttentionNames attention;
  RecurrentNames recurrent;             // in its place: Mixer::kRecurrent
  std::string dense_prefix;             // of {gate,up,down}_proj
  std::string other_dense_prefix = {};  // in checkpoints without the first; empty: there is none
  // In place of the prefix: modules. One matrix of gate and then up rows has the first name; where
  // there is neither that nor a gate, the network has none.
  std::string dense_gate_up, dense_gate, dense_up, dense_down;
  bool dense_taking_turns = false;  // rows of dense_gate_up are gate, up, gate, up, ..
  // Of decoders that read what an encoder gives: the norm before it, and the attention.
  std::string cross_norm;
  AttentionNames cross;
  std::string position_bias;  // [buckets, heads]; where the first layer has one for all
  MoeNames moe;
  // LayerConfig::beside: norms of what the dense network gives and of what experts read and give,
  // modules, and the norm of what the router reads, whole: it has a weight alone.
  std::string dense_post_norm, expert_norm, expert_post_norm, router_norm;
  // Residual convolutions of what attention and FFN give, modules, and what a dense FFN's output is
  // multiplied with before that, whole, [1].
  std::string attention_convolution, ffn_convolution, dense_scale;
  HyperNames attention_streams, ffn_streams;       // ModelConfig::hyper
  NgramNames ngrams;                               // LayerConfig::ngrams
  ResidualNames attention_residual, ffn_residual;  // ResidualConfig
  // ResidualConfig::sum_layers, whole: queries of what attention and FFN read, [H], or [3, H] for
  // q, k and v. Modules, LayerConfig::dynamic: norms of what these are made of, in place of
  // input_norm.
  std::string attention_query, ffn_query, q_input_norm, k_input_norm, v_input_norm;
  // LoopConfig: gates of what q, k, v and the FFN are made of; and, whole, queries of their
  // messages: of all layers that run again, [layers, 4, H], or, [2 layers, H] each, those of q and
  // the FFN, and of k and v.
  MessageGateNames q_gate, k_gate, v_gate, ffn_gate;
  std::string message_queries, message_kv_queries;
  // ModelConfig::layer_inputs, modules [P, H], [H, P] and [H]; and layer_scalars, [1].
  std::string input_gate, input_projection, input_post_norm;
  std::string scalar;
};

// What all layers have one of.
struct EndNames {
  std::string embedding;
  std::string final_norm;         // module
  std::string head;               // module
  std::string encoder_norm = {};  // module, behind the last layer of an encoder
  // Of the encoder and the decoder, where they do not share the embedding.
  std::string encoder_embedding = {}, decoder_embedding = {};
  // ModelConfig::layer_inputs: [its vocabulary, layers * P], and modules [layers * P, H] and [P].
  std::string input_embedding = {}, input_projection = {}, input_norm = {};
  std::string embedding_norm = {};     // module, or empty; ModelConfig::embedding_norm
  HyperNames streams = {};             // ModelConfig::hyper
  RowScaleNames embedding_scale = {};  // ResidualConfig::learned
  std::string final_query = {};        // [H]; ResidualConfig::sum_layers
  std::string frequencies = {};        // [pairs]; ModelConfig::learned_frequencies
};

AttentionNames UsualAttentionNames(const std::string& prefix);
// The names that most families have; `prefix` is "model.layers.3.".
LayerNames UsualLayerNames(const std::string& prefix);
// The same with a shared expert that has a gate, as Qwen2-MoE has it.
LayerNames SharedExpertNames(const std::string& prefix);
// The usual ones with the MoE block of Mixtral: block_sparse_moe with w1, w2 and w3, or, packed,
// mlp.
LayerNames SparseBlockNames(const std::string& prefix);
EndNames UsualEndNames();
// Of text models inside of multimodal ones: all in "language_model.", or the decoder alone in
// "model.language_model.".
EndNames LanguageModelEndNames();
EndNames InnerLanguageModelEndNames();

}  // namespace folkmoot
