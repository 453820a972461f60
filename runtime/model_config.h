// SPDX-License-Identifier: Apache-2.0
// The shape of a model, read from a Hugging Face directory's config.json (config_family.h) or from
// the keys of a GGUF file (model_config_gguf.h).
//
// Every key of a known family that changes the mathematics is honoured or refused by name; keys
// that do not change it (dropout, initialisers, cache flags, ...) are on a list; any other key is
// refused by name, so nothing is ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/mixer_config.h"
#include "runtime/ops/gemm.h"
#include "runtime/rope_config.h"
#include "runtime/status.h"
#include "runtime/stream_config.h"

namespace folkmoot {

class WeightFormat;

// What mixes the tokens of a layer: attention, that with one key and value for all heads and
// compressed entries (CompressedConfig), or a recurrence (RecurrentConfig). kNone: the layer is a
// feed-forward network alone (Nemotron-H).
enum class Mixer : uint8_t { kAttention, kCompressed, kRecurrent, kNone };

struct LayerConfig {
  Mixer mixer = Mixer::kAttention;
  bool ffn = true;             // false: the mixer is all of the layer (Nemotron-H)
  bool moe = false;            // routed experts; else one dense FFN
  bool shortcut = false;       // both; what the experts give joins behind the next layer (LongCat)
  bool beside = false;         // both, with norms of their own, added up (Gemma 4)
  int64_t sliding_window = 0;  // keys that a query sees, itself included; 0 = all
  int64_t chunk = 0;           // a query sees keys of its own chunk of so many positions; 0 = all
  bool rope = true;            // false: q and k are not rotated; see TemperatureConfig
  bool local_rope = false;     // by ModelConfig::local_rope
  int64_t top_k = 0;           // experts of a token, fewer than MoeConfig::top_k; 0 = so many
  int64_t heads = 0;           // of queries, where not ModelConfig::heads (Laguna)
  int64_t kv_heads = 0;        // where not ModelConfig::kv_heads (MiMo-V2)
  int64_t head_dim = 0;        // where not ModelConfig::head_dim (Gemma 4)
  bool keys_are_values = false;  // v is what k is before its norm and rotation (Gemma 4)
  int64_t kv_layer = -1;         // whose keys and values, or latents, it reads; -1: it has its own
  int64_t intermediate = 0;      // of the dense FFN, where not ModelConfig::intermediate
  bool sinks = false;            // AttentionParams::sinks
  // Of kCompressed: tokens of an entry; 0: it sees its window alone. Entries of overlapping windows
  // are made from two, and an indexer chooses among them.
  int64_t compression = 0;
  bool overlapping = false;
  // What experts a token has is read from a table by its id (DeepSeek-V4).
  bool hashed = false;
  // Of MoeConfig::router_hidden: the router takes up what that of the layer before handed on.
  bool carried_router = false;
  // Of sparse attention (IndexerConfig): chooses keys itself; else those of the layer before count.
  bool indexer = false;
  // Of ClipConfig: q, k and v are made of mixtures (ResidualConfig::sum_layers) and by norms of
  // their own, and each token makes taps of the convolutions of k and v (Inkling 2).
  bool dynamic = false;
  // Whose weights it has, which run again with a cache of their own (LoopConfig): a layer that
  // stands behind all that have their own; -1: it does.
  int64_t again = -1;
  bool ngrams = false;  // embeddings of n-grams join the streams before the layer (NgramConfig)
  // Of Activation::kLimitedSwiglu, or of kCappedSwiglu where there is no ModelConfig::swiglu_limit:
  // in experts, and in the dense FFN or the shared expert; 0: none.
  float expert_limit = 0.0f;
  float dense_limit = 0.0f;
  // What attention scores are multiplied with, where ModelConfig does not say it for all layers
  // (Inkling); 0: it does.
  float score_scale = 0.0f;
};

// When a token gets its second expert (NLLB): always, at random by its weight, or the best after a
// random draw.
enum class SecondExpert : uint8_t { kAlways, kRandom, kSampled };

struct MoeConfig {
  int64_t experts = 0;
  int64_t top_k = 0;  // of the layer that has most
  int64_t intermediate = 0;
  bool norm_topk_prob = false;
  bool sigmoid_scores = false;      // of families that have others too (Cohere)
  int64_t shared_intermediate = 0;  // 0 = no shared expert
  // The shared expert is so many, side by side, which outputs of the router behind those of the
  // experts weigh, as GateConfig::shared_sinks says (Inkling); 0: it is one, and has no weight.
  int64_t shared_sinks = 0;
  // Of gates that choose groups of experts first (DeepSeek).
  int64_t groups = 1;
  int64_t chosen_groups = 1;
  double routed_scaling = 1.0;  // of the weights
  double norm_min = 0.0;        // what the sum of weights counts as at least (ERNIE)
  // Routed experts read and write vectors of so many numbers, which one matrix makes of the hidden
  // ones and another turns back (Nemotron 3 Super); 0: hidden ones.
  int64_t latent = 0;
  // The router is a network on vectors of so many numbers, which it hands on from layer to layer
  // (ZAYA1; layers/router_network.h); 0: it is one matrix.
  int64_t router_hidden = 0;
  // After the others: that give back what they get (LongCat), or nothing (ZAYA1).
  int64_t zero_experts = 0;
  double mixer_eps = 0.0;       // of gates with SparseMixer (Phi-MoE)
  bool router_bias = false;     // added to the logits
  bool selection_bias = false;  // added to what experts are chosen by, not to their weights
  bool expert_bias = false;     // of gate, up and down of every expert
  bool output_bias = false;     // of the sum of the chosen experts (JetMoE)
  bool weight_scales = false;   // weights are multiplied with a factor of each expert (Gemma 4)
  bool weight_scale = false;    // or all of a layer with one (Inkling)
  float router_softcap = 0.0f;  // logits become cap * tanh(logit / cap) (Laguna); 0: they stay
  float router_scale = 1.0f;    // what logits are multiplied with (Muse Spark)
  bool expert_norms = false;    // what each expert gives is normalised, as by late_norms
  float output_scale = 1.0f;    // of the sum of chosen and shared experts (Cohere, Beam)
  // Of published gates with capacity: places of an expert, or, where the fraction is above 0, that
  // part of the tokens; and who comes first.
  int64_t capacity = 0;
  double capacity_fraction = 0.0;
  bool batch_prioritized = false;
  SecondExpert second_expert = SecondExpert::kAlways;

  int64_t outputs() const { return experts + zero_experts; }  // of the router
};

// RMSNorm on q and k: of each head, or of all heads of a token together (OLMoE), before RoPE; of
// each head after it (Hunyuan); the same without weights, in layers that rotate (Llama 4); without
// weights before it, where keys are multiplied with a number of their head (ZAYA1), or are not
// (Muse Spark).
enum class QkNormKind : uint8_t {
  kNone,
  kHeads,
  kRows,
  kHeadsAfterRope,
  kUnitAfterRope,
  kUnitScaledKeys,
  kUnit
};

// kRmsPlusOne multiplies with 1 + weight (Gemma).
enum class NormKind : uint8_t { kRms, kRmsPlusOne, kLayer };

// The stream behind a part of a layer is the stream before it times `kept`, and what the part gave
// times `added`.
struct ResidualFactors {
  float kept = 1.0f;
  float added = 1.0f;
};
struct ResidualConfig {
  // MiniMax-01: what a part read, after its norm, is what is kept; what the stream was before the
  // norm ends there. Else the stream stays, and residual_multiplier is what outputs count.
  bool of_norm = false;
  ResidualFactors attention, recurrent, ffn;  // of of_norm, by what the part is
  // Of the n-th part, the embedding being the first: kept sqrt((n - 1) / n), added 1 / sqrt(n), so
  // that the stream does not grow with depth (Beam).
  bool by_depth = false;
  // So many layers add up to one sum, the next ones to the next, and what parts read is a mixture
  // of all sums (Inkling 2; layers/models/decoder_sums.cc); 0: there is one stream.
  int64_t sum_layers = 0;
  // The stream and what parts give are shifted and scaled by learned vectors before they are added
  // up, and embeddings are, too (ZAYA1; layers/learned_residual.h).
  bool learned = false;
  // Or a learned gate of this temperature mixes the two (Muse Spark; the same); 0: none does.
  float gate_temperature = 0.0f;
};

// The encoder of a model that has one (T5, NLLB). Its layers come first in ModelConfig::layers, and
// have these numbers where they differ from the decoder's.
struct EncoderConfig {
  int64_t layers = 0;  // 0: the model has no encoder
  int64_t heads = 0;   // of hidden / heads or head_dim numbers each
  int64_t head_dim = 0;
  int64_t intermediate = 0;  // of dense layers, and of experts
  // With what the decoder begins, and what it must go on with; -1: nothing.
  int32_t decoder_start = -1;
  int32_t forced_bos = -1;
};

struct ModelConfig {
  std::string architecture;  // "Qwen2MoeForCausalLM"
  std::string model_type;    // "qwen2_moe"
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab = 0;
  int64_t max_positions = 0;
  int64_t intermediate = 0;             // of dense FFN layers
  float rms_norm_eps = 1e-6f;           // also of LayerNorm
  std::optional<float> final_norm_eps;  // of the last norm, where it has another (JetMoE)
  NormKind norm = NormKind::kRms;
  bool norm_bias = false;   // of LayerNorm
  bool input_norms = true;  // of what attention and FFN read; else they read the stream (OLMo 2)
  bool post_norms = false;  // also of what attention and FFN give, before it is added (Gemma 2)
  bool expert_post_norms = false;      // only of what layers with experts give (A.X-K1)
  std::optional<float> post_norm_eps;  // of post norms, where they have another (Muse Spark)
  // Those behind FFN multiply with their weights before they normalise (Muse Spark).
  bool late_norms = false;
  std::optional<NormKind> final_norm;  // the last norm, where it is of another kind
  // What norms before attention and before experts give is multiplied with the sigmoid of a network
  // of so many hidden numbers that reads it (A.X-K2); 0: it is not.
  int64_t norm_gate_rank = 0;
  bool parallel_blocks = false;  // attention and FFN read one norm, and both are added (Cohere)
  Activation activation = Activation::kSilu;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // attention output projection
  bool mlp_bias = false;
  QkNormKind qk_norm = QkNormKind::kNone;
  // Granite: what embeddings and the outputs of attention and FFN are multiplied with, what logits
  // are divided by (multiplied with 1 / it, in fact), and the scale of attention scores (0: 1 /
  // sqrt(head_dim)).
  float embedding_multiplier = 1.0f;
  float residual_multiplier = 1.0f;
  float logits_scaling = 1.0f;
  float attention_multiplier = 0.0f;
  // Heads of latent attention and of its indexers multiply their queries with scale * ln(position +
  // 1) + bias, learned for each (Mistral Large 4; layers/query_scale.h).
  bool query_scales = false;
  float clip_qkv = 0.0f;           // q, k and v are clamped to +- this; 0: they are not
  float attention_softcap = 0.0f;  // AttentionParams::softcap
  float logits_softcap = 0.0f;     // the same of logits; 0: none
  int64_t value_head_dim = 0;      // of heads with keys of their own; 0: head_dim (MiMo-V2)
  float value_multiplier = 1.0f;   // of v
  bool value_norm = false;         // each head of v is normalised, without weights (Gemma 4)
  bool attended_norm = false;      // the same of what each head gives (Muse Spark)
  AttentionGate attention_gate = AttentionGate::kNone;
  bool gate_per_head = false;    // of kOwn: one output for all numbers of a head
  bool gate_softplus = false;    // of kOwn: softplus, not sigmoid
  bool gate_bias = false;        // of kOwn: a number of each head is added to its gates (Beam)
  bool head_bias = false;        // of the output head
  int64_t scored_vocab = 0;      // tokens that can be predicted, the first ones; 0: all
  bool embedding_norm = false;   // embeddings are normalised (Inkling, Muse Spark)
  float swiglu_limit = 0.0f;     // of all SwiGLU that is clamped; 0: see LayerConfig::expert_limit
  float swiglu_up_limit = 0.0f;  // of Activation::kSoftcappedSwiglu, whose gate has the other
  // A second embedding of each token has so many numbers for each layer, which it adds to the
  // stream by way of a gate (Gemma 4; layers/models/layer_inputs.h); 0: there is none.
  int64_t layer_inputs = 0;
  int64_t layer_input_vocab = 0;
  bool layer_scalars = false;  // the stream behind a layer is multiplied with a number of it
  LatentConfig latent;         // kv_rank == 0: attention has keys and values of its own
  // Windows hide nothing of the prompt, and of what follows it all but their tokens
  // (Unlimited-OCR).
  bool windows_keep_prompt = false;
  // Of layers with a window, where theirs are others (dots3.note).
  std::optional<LatentConfig> local_latent;
  IndexerConfig indexer;        // of attention that is sparse; one with a window is not
  RecurrentConfig recurrent;    // of layers with Mixer::kRecurrent, or of convolutions beside pages
  CompressedConfig compressed;  // of layers with Mixer::kCompressed
  HyperConfig hyper;
  NgramConfig ngrams;  // of layers with LayerConfig::ngrams
  LoopConfig loop;
  ResidualConfig residual;
  // Each has queries for all keys and an output; a token chooses heads / kv_heads (JetMoE). 0:
  // none.
  int64_t attention_experts = 0;
  // Attention scores have a bias by distance, of so many kinds (T5); 0: none. Beyond the distance
  // all have the last one.
  int64_t position_buckets = 0;
  int64_t position_distance = 0;
  bool sinusoidal = false;  // sines of positions are added to embeddings, none for pad_id (NLLB)
  int32_t pad_id = -1;
  EncoderConfig encoder;
  TemperatureConfig temperature;
  RelativeConfig relative;
  ClipConfig clip;
  DType dtype = DType::kF32;  // as config.json says; tensors may differ
  RopeConfig rope;
  // Its frequencies are multiplied with e^a for learned numbers a (Mistral Large 4).
  bool learned_frequencies = false;
  std::optional<RopeConfig> local_rope;  // of LayerConfig::local_rope
  std::vector<LayerConfig> layers;
  MoeConfig moe;  // experts == 0 for dense families
  std::vector<int32_t> eos_ids;
  // How quantised weights are stored, by "quantization_config"; null: all are plain.
  std::shared_ptr<const WeightFormat> weight_format;

  bool has_encoder() const { return encoder.layers > 0; }
  int64_t decoder_layers() const { return static_cast<int64_t>(layers.size()) - encoder.layers; }
  // Those with weights of their own, the first ones.
  int64_t own_layers() const {
    return static_cast<int64_t>(layers.size()) - (loop.passes - 1) * loop.layers();
  }
  bool convolved() const { return recurrent.kind == Recurrence::kConvolvedAttention; }
  bool residual_convolutions() const { return recurrent.kind == Recurrence::kResidualConvolutions; }
  // Layers whose state a sequence has beside its pages, and those with keys and values in them.
  int64_t recurrent_layers() const {
    const bool beside_pages = convolved() || residual_convolutions();
    return beside_pages ? cache_layers() : layers_with(Mixer::kRecurrent);
  }
  int64_t compressed_layers() const { return layers_with(Mixer::kCompressed); }
  int64_t cache_layers() const;
  int64_t layers_with(Mixer mixer) const;
  // The place of layer `index` among those with the same mixer; of attention among those with keys
  // and values of their own: that of the ones it reads.
  int64_t place_in_kind(int64_t index) const;
  // Layers that choose keys, and those of them before layer `index`: its place in their cache.
  int64_t indexers() const { return indexers_before(static_cast<int64_t>(layers.size())); }
  // Those with a key for each token; keys of pools are in RowPages.
  int64_t token_indexers() const { return indexer.pool > 0 ? 0 : indexers(); }
  int64_t indexers_before(int64_t index) const;
  // The same of layers with n-grams.
  int64_t ngram_layers() const { return ngram_layers_before(static_cast<int64_t>(layers.size())); }
  int64_t ngram_layers_before(int64_t index) const;
  // Numbers of a row that a routed expert reads, and of one that it gives.
  int64_t expert_width() const { return moe.latent > 0 ? moe.latent : hidden; }
  int64_t top_k(const LayerConfig& layer) const {
    return layer.top_k > 0 ? layer.top_k : moe.top_k;
  }
  int64_t heads_of(const LayerConfig& layer) const { return layer.heads > 0 ? layer.heads : heads; }
  int64_t kv_heads_of(const LayerConfig& layer) const {
    return layer.kv_heads > 0 ? layer.kv_heads : kv_heads;
  }
  int64_t intermediate_of(const LayerConfig& layer) const {
    return layer.intermediate > 0 ? layer.intermediate : intermediate;
  }
  int64_t widest_attention() const;     // numbers that the heads of any layer give
  int64_t widest_intermediate() const;  // of any dense FFN
  int64_t output_window() const;        // of windows_keep_prompt, all of one size; 0: none
  bool sinks() const;                   // of any layer
  bool uniform_heads() const;           // all layers have as many, of the same size
  // Numbers of a head that rotate, where RopeConfig::dim does not say.
  int64_t rope_dim() const { return latent.kv_rank > 0 ? latent.rope_dim : head_dim; }
  // Those of a head's key, and of its value.
  int64_t head_dim_of(const LayerConfig& layer) const {
    return layer.head_dim > 0 ? layer.head_dim : head_dim;
  }
  LatentConfig latent_of(const LayerConfig& layer) const;
  int64_t value_dim(const LayerConfig& layer) const {
    if (latent.kv_rank > 0) return latent_of(layer).value_dim;
    return value_head_dim > 0 ? value_head_dim : head_dim_of(layer);
  }
  // What a cache has of a token and layer: of latent attention one key and value for all heads.
  int64_t cache_heads(const LayerConfig& layer) const {
    return latent.kv_rank > 0 ? 1 : kv_heads_of(layer);
  }
  int64_t cache_key_dim(const LayerConfig& layer) const {
    if (latent.kv_rank == 0) return head_dim_of(layer);
    return latent_of(layer).kv_rank + latent_of(layer).rope_dim;
  }
  int64_t cache_value_dim(const LayerConfig& layer) const {
    return latent.kv_rank > 0 ? latent_of(layer).kv_rank : value_dim(layer);
  }
  // Does it have keys and values of its own?
  static bool caches(const LayerConfig& layer) {
    return layer.mixer == Mixer::kAttention && layer.kv_layer < 0;
  }
  // Of a token, in all layers of the decoder, keys of indexers included, and the share of entries;
  // what open windows have taken up is not.
  int64_t cache_numbers() const;
};

}  // namespace folkmoot
