// SPDX-License-Identifier: Apache-2.0
// Qwen4-Exp (Alibaba 2026), alone and as the text model of its multimodal checkpoint: the gated
// delta rule and the experts of Qwen3.5, and attention that sees pools of keys
// (layers/mean_indexer.h). The residual is several streams, which parts read and write by way of
// gates (layers/stream_gate.h), and which embeddings of n-grams join in a few layers
// (layers/models/ngram_inputs.h); nothing else is normalised before a part or behind the last. The
// part for pictures and what predicts further tokens are not run; in text the three sections of a
// position are equal, which makes them those of text.
#include <algorithm>
#include <array>

#include "layers/hyper_connection.h"
#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/qwen_parts.h"
#include "layers/ngram_hash.h"
#include "runtime/model_config_rope.h"

namespace folkmoot {
namespace {

constexpr IntRange kSizes = {1, 1 << 16};
constexpr const char* kLayerTypes = "layer_types";
constexpr const char* kInterval = "full_attention_interval";
constexpr const char* kNgramLayers = "ple_layer_ids";

constexpr std::string_view kOwnKeys[] = {
    kInterval, "linear_conv_kernel_dim", "linear_key_head_dim", "linear_value_head_dim",
    "linear_num_key_heads", "linear_num_value_heads", "output_gate_type", "hc_count", "hc_lowrank",
    "indexer_n_heads", "indexer_kv_heads", "indexer_head_dim", "indexer_budget",
    "indexer_compress_ratio", kNgramLayers, "ple_embed_dim", "ple_conv_kernel_size", "ngram_size",
    "heads_per_ngram", "ngram_vocab_size_base", "make_ngram_vocab_size_divisible_by",
    "split_ngram_parts", "seed",
    // Follows from the others; the last two are of multi-token prediction, which is not run.
    "number_of_conv_states", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"};
constexpr FixedKey kFixed[] = {
    {"attn_output_gate", "true"}, {"mamba_ssm_dtype", "\"float32\""}, {"mlp_only_layers", "[]"}};
constexpr std::string_view kBesideText[] = {"vision_config", "image_token_id", "video_token_id",
                                            "vision_start_token_id", "vision_end_token_id"};
constexpr std::string_view kUnused[] = {"mtp.", "model.visual."};

// layer_types, where given; else every layer whose number, from 1, full_attention_interval divides
// attends. Released files call attention full, though an indexer chooses what it sees; those that
// Transformers wrote call it otherwise, and since 5.24 as all attention with an indexer.
absl::Status ReadKinds(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::array<std::string_view, 4> kKnown = {"linear_attention", "qwen_sparse_attention",
                                                      "indexed_attention", "full_attention"};
  FM_ASSIGN_OR_RETURN(const int64_t interval, keys.Int(kInterval, 4));
  std::vector<size_t> kinds;
  for (int64_t i = 1; i <= std::ssize(config.layers); ++i) kinds.push_back(i % interval == 0);
  const bool listed = keys.HasValue(kLayerTypes);
  if (listed) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kLayerTypes, kKnown, config.layers.size()));
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    config.layers[i].mixer = kinds[i] == 0 ? Mixer::kRecurrent : Mixer::kAttention;
    config.layers[i].indexer = kinds[i] != 0;
  }
  return CheckAttends(keys, listed ? kLayerTypes : kInterval, config);
}

absl::Status ReadLinear(const ConfigReader& keys, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadGatedDelta(keys, {}, config));
  FM_ASSIGN_OR_RETURN(const auto gate, keys.OptionalString("output_gate_type"));
  config.recurrent.sigmoid_gate = gate == "sigmoid";
  if (gate ? *gate == "silu" || *gate == "sigmoid" : config.activation == Activation::kSilu) {
    return absl::OkStatus();
  }
  return keys.Wrong("output_gate_type",
                    "it must be silu or sigmoid, or hidden_act silu where there is none");
}

// Of a key without a default.
absl::StatusOr<int64_t> Wanted(const ConfigReader& keys, const char* key) {
  FM_ASSIGN_OR_RETURN(const auto value, keys.OptionalInt(key, kSizes));
  if (value) return *value;
  return keys.Wrong(key, "all that attends chooses its keys by an indexer, which needs it");
}

absl::Status ReadIndexer(const ConfigReader& keys, ModelConfig& config) {
  IndexerConfig& indexer = config.indexer;
  FM_ASSIGN_OR_RETURN(indexer.heads, Wanted(keys, "indexer_n_heads"));
  FM_ASSIGN_OR_RETURN(const int64_t key_heads, Wanted(keys, "indexer_kv_heads"));
  FM_ASSIGN_OR_RETURN(indexer.head_dim, Wanted(keys, "indexer_head_dim"));
  FM_ASSIGN_OR_RETURN(indexer.top_k, Wanted(keys, "indexer_budget"));
  FM_ASSIGN_OR_RETURN(indexer.pool, Wanted(keys, "indexer_compress_ratio"));
  if (key_heads != 1) {
    return keys.Wrong("indexer_kv_heads", "an indexer has one key: it must be 1");
  }
  if (indexer.top_k % indexer.pool != 0) {
    return keys.Wrong("indexer_budget",
                      fmt::format("whole pools of indexer_compress_ratio = {} tokens are chosen: "
                                  "it must be a multiple",
                                  indexer.pool));
  }
  const auto turning = static_cast<int64_t>(static_cast<double>(config.head_dim) *
                                            config.rope.partial_rotary_factor);
  if (turning > indexer.head_dim) {
    return keys.Wrong("indexer_head_dim",
                      fmt::format("its first {} numbers turn, as those of heads do", turning));
  }
  return absl::OkStatus();
}

// The layers, counted from 1, that n-grams join.
absl::Status ReadNgramLayers(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto numbers, keys.Ints(kNgramLayers, {1, std::ssize(config.layers)}));
  for (const int64_t number : numbers) {
    LayerConfig& layer = config.layers[static_cast<size_t>(number - 1)];
    if (layer.mixer != Mixer::kRecurrent) {
      return keys.Wrong(kNgramLayers,
                        fmt::format("layer {} attends: n-grams join linear ones only", number));
    }
    layer.ngrams = true;
  }
  return absl::OkStatus();
}

absl::Status ReadNgrams(const ConfigReader& keys, ModelConfig& config) {
  NgramConfig ngrams;
  constexpr IntRange kRows = {1, 1 << 28};
  constexpr int64_t kMostSeed = int64_t{1} << 53;
  FM_RETURN_IF_ERROR(ReadNgramLayers(keys, config));
  FM_ASSIGN_OR_RETURN(ngrams.size, keys.Int("ngram_size", 3, {2, kLongestNgram}));
  FM_ASSIGN_OR_RETURN(ngrams.heads, keys.Int("heads_per_ngram", 8, {1, kMostNgramHashes}));
  FM_ASSIGN_OR_RETURN(const auto width, keys.OptionalInt("ple_embed_dim", kWidthRange));
  // Transformers cannot go on from one row alone.
  FM_ASSIGN_OR_RETURN(ngrams.kernel,
                      keys.Int("ple_conv_kernel_size", 4, {2, kMostConvolutionRows}));
  FM_ASSIGN_OR_RETURN(ngrams.least, keys.Int("ngram_vocab_size_base", 20'000'000, kRows));
  FM_ASSIGN_OR_RETURN(ngrams.multiple, keys.Int("make_ngram_vocab_size_divisible_by", 128, kRows));
  FM_ASSIGN_OR_RETURN(ngrams.parts, keys.Int("split_ngram_parts", 512, kSizes));
  FM_ASSIGN_OR_RETURN(ngrams.seed, keys.Int("seed", 1234, {-kMostSeed, kMostSeed}));
  ngrams.width = width.value_or(config.hidden);
  if (config.ngram_layers() == 0) return absl::OkStatus();
  if (ngrams.hashes() * config.ngram_layers() > kMostNgramHashes) {
    return keys.Wrong(
        "heads_per_ngram",
        fmt::format("all layers have one for each length of n-gram, {} at most in all",
                    kMostNgramHashes));
  }
  if (ngrams.width % ngrams.hashes() != 0) {
    return keys.Wrong("ple_embed_dim",
                      fmt::format("(absent: hidden_size) {} hashes have a part each: it must be a "
                                  "multiple",
                                  ngrams.hashes()));
  }
  if (config.eos_ids.empty()) {
    return keys.Wrong("eos_token_id",
                      "n-grams do not go across it, and it stands before the first");
  }
  ngrams.boundary = config.eos_ids.front();
  config.ngrams = ngrams;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_ASSIGN_OR_RETURN(config.rope, ParseRope(keys, {.theta = source.family.rope_theta,
                                                    .dim = config.head_dim,
                                                    .partial = source.family.partial_rotary,
                                                    .max_positions = config.max_positions,
                                                    .sections = true}));
  if (config.rope.type == RopeType::kDynamic || config.rope.type == RopeType::kLongrope) {
    return keys.Wrong("rope_parameters",
                      "keys of pools would turn by lengths that nobody knows yet: rope_type must "
                      "be another");
  }
  config.attention_gate = AttentionGate::kBehindQueries;
  config.input_norms = false;
  FM_RETURN_IF_ERROR(ReadKinds(keys, config));
  FM_RETURN_IF_ERROR(ReadLinear(keys, config));
  FM_RETURN_IF_ERROR(ReadIndexer(keys, config));
  FM_ASSIGN_OR_RETURN(config.hyper.streams, keys.Int("hc_count", 4, {2, kMostStreams}));
  FM_ASSIGN_OR_RETURN(config.hyper.gate_rank, keys.Int("hc_lowrank", 320, kWidthRange));
  return ReadNgrams(keys, config);
}

HyperNames Streams(const std::string& stem) {
  return {.norm = stem + ".hc_norm",
          .down = stem + ".input_mix_weight_down",
          .up = stem + ".input_mix_weight_up",
          .inject = stem + ".block_inject_weight"};
}

NgramNames Ngrams(const std::string& stem) {
  const std::string table = stem + "ple_embedding.";
  return {.table = table + "ngram_embedding",
          .key = stem + "key_proj",
          .value = stem + "value_proj",
          .key_norm = stem + "norm_key",
          .stream_norm = stem + "norm_query",
          .convolution_norm = stem + "norm_conv",
          .convolution = stem + "conv1d",
          .multipliers = table + "layer_multipliers",
          .sizes = table + "ngram_heads_vocab_sizes",
          .offsets = table + "ngram_heads_offsets"};
}

LayerNames Names(const std::string& prefix) {
  const std::string indexer = prefix + "self_attn.indexer.";
  LayerNames names = SharedExpertNames(prefix);
  names.recurrent = GatedDeltaNames(prefix + "linear_attn.");
  names.attention.index_qk = indexer + "index_qk_proj";
  names.attention.index_q_norm = indexer + "q_layernorm";
  names.attention.index_k_norm = indexer + "k_layernorm";
  names.attention_streams = Streams(prefix + "attn_hyper_connection");
  names.ffn_streams = Streams(prefix + "mlp_hyper_connection");
  names.ngrams = Ngrams(prefix + "ple.");
  return names;
}

EndNames WithMixer(EndNames names, const std::string& prefix) {
  names.streams = Streams(prefix + "hyper_connection_mixer");
  return names;
}
EndNames InnerEnds() { return WithMixer(InnerLanguageModelEndNames(), "model.language_model."); }
EndNames Ends() { return WithMixer(UsualEndNames(), "model."); }

// The numbers of the hashes: compared with what config.json makes of them.
bool IsOfHashes(const ModelConfig&, std::string_view name) {
  return name.find(".ple.ple_embedding.") != std::string_view::npos &&
         name.find(".ngram_embedding.") == std::string_view::npos;
}

constexpr ConfigFamily kText = {.architecture = "Qwen4ExpForCausalLM",
                                .model_type = "qwen4_exp_text",
                                .vocab = 248320,
                                .hidden = 2048,
                                .layers = 40,
                                .heads = 16,
                                .kv_heads = 2,
                                .max_positions = 32768,
                                .head_dim = 256,
                                .norm = NormKind::kRmsPlusOne,
                                .partial_rotary = 1.0,
                                .own_rope = true,
                                .eos_counts = true,
                                .bias = BiasRule::kAttentionKey,
                                .qk_norm = QkNormKind::kHeads,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 512,
                                .top_k = 10,
                                .moe_intermediate = 512,
                                .shared_intermediate = 512,
                                .norm_topk_key = true,
                                .norm_topk = true,
                                .fixed = kFixed,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "Qwen4ExpForConditionalGeneration";
  config.model_type = "qwen4_exp";
  config.text_model_type = kText.model_type;
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kQwen4ExpText = {.config = kText,
                              .layer_names = Names,
                              .end_names = Ends,
                              .gate = SigmoidSharedGate,
                              .unused = kUnused,
                              .also_unused = IsOfHashes};
const Family kQwen4Exp = {.config = MultimodalConfig(),
                          .layer_names = Names,
                          .end_names = InnerEnds,
                          .layers = "model.language_model.layers.",
                          .gate = SigmoidSharedGate,
                          .unused = kUnused,
                          .also_unused = IsOfHashes};

}  // namespace folkmoot
