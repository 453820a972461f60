// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V4 (2026): a residual of several streams (layers/hyper_connection.h), attention over a
// window and over compressed entries (layers/compressed_attention.h), and experts beside a shared
// one, which in the first layers are those that a table says for each token. Files have the
// authors' keys and names, or those of Transformers. The layer for multi-token prediction is not
// used.
#include <algorithm>

#include "layers/hyper_connection.h"
#include "layers/models/deepseek_v4_names.h"
#include "layers/models/deepseek_v4_ropes.h"
#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr std::string_view kSliding = "sliding_attention";
constexpr std::string_view kSparse = "compressed_sparse_attention";
constexpr std::string_view kHeavy = "heavily_compressed_attention";
constexpr std::string_view kKinds[] = {kSliding, kSparse, kHeavy};
constexpr std::string_view kFeeds[] = {"hash_moe", "moe"};
constexpr int64_t kRatios[] = {0, 4, 128};  // of compress_ratios, in the order of kKinds

constexpr const char* kTypes = "layer_types";
constexpr const char* kRatioList = "compress_ratios";
constexpr const char* kFeedTypes = "mlp_layer_types";
constexpr const char* kHashLayers = "num_hash_layers";

constexpr std::string_view kOwnKeys[] = {"compress_ratios",
                                         "compress_rates.compressed_sparse_attention",
                                         "compress_rates.heavily_compressed_attention",
                                         "compress_rate_csa",
                                         "compress_rate_hca",
                                         "compress_rope_theta",
                                         "mlp_layer_types",
                                         "num_hash_layers",
                                         "partial_rotary_factor",
                                         "qk_rope_head_dim",
                                         "sliding_window",
                                         "q_lora_rank",
                                         "o_groups",
                                         "o_lora_rank",
                                         "index_n_heads",
                                         "index_head_dim",
                                         "index_topk",
                                         "hc_mult",
                                         "hc_sinkhorn_iters",
                                         "hc_eps",
                                         "swiglu_limit",
                                         "scoring_func",
                                         "expert_dtype",
                                         "routed_scaling_factor",
                                         "num_nextn_predict_layers"};
constexpr std::string_view kNested[] = {"compress_rates"};
constexpr std::string_view kAbsent[] = {"original_max_position_embeddings"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
constexpr FixedKey kFixed[] = {
    {"topk_method", "\"noaux_tc\""}, {"norm_topk_prob", "true"}, {"n_shared_experts", "1"}};
constexpr std::string_view kUnused[] = {"mtp.", "model.mtp."};
constexpr IntRange kSizes = {1, 1 << 16};
constexpr IntRange kRates = {1, 1 << 20};

// A list may go on for layers of multi-token prediction.
absl::StatusOr<json> CutList(const ConfigReader& keys, const char* key, size_t layers) {
  json list = *keys.Find(key);
  if (!list.is_array() || list.size() < layers) return keys.WrongLength(key, layers);
  list.erase(list.begin() + static_cast<int64_t>(layers), list.end());
  return json{{key, std::move(list)}};
}

absl::StatusOr<std::vector<size_t>> ReadKinds(const ConfigReader& keys, const char* key,
                                              std::span<const std::string_view> names,
                                              size_t layers) {
  FM_ASSIGN_OR_RETURN(const json cut, CutList(keys, key, layers));
  return ReadLayerKinds(ConfigReader(cut, keys.prefix()), key, names, layers);
}

// The kind of each layer by the number of tokens in an entry: 0, 4 or 128.
absl::StatusOr<std::vector<size_t>> ReadRatios(const ConfigReader& keys, size_t layers) {
  FM_ASSIGN_OR_RETURN(const json cut, CutList(keys, kRatioList, layers));
  FM_ASSIGN_OR_RETURN(const auto ratios,
                      ConfigReader(cut, keys.prefix()).Ints(kRatioList, {0, kRates.max}));
  std::vector<size_t> kinds;
  for (const int64_t ratio : ratios) {
    const auto found = std::find(std::begin(kRatios), std::end(kRatios), ratio);
    if (found == std::end(kRatios)) {
      return keys.Wrong(kRatioList, "known: 0, 4 and 128; others are named by compress_rates");
    }
    kinds.push_back(static_cast<size_t>(found - std::begin(kRatios)));
  }
  return kinds;
}

// Two layers of heavy compression, then this in turn with the other; in the authors' keys, or by
// types.
absl::StatusOr<std::vector<size_t>> ReadAttentionKinds(const ConfigReader& keys, size_t layers) {
  std::vector<size_t> kinds(layers);
  for (size_t i = 0; i < layers; ++i) kinds[i] = i >= 2 && i % 2 == 1 ? 1 : 2;
  if (keys.HasValue(kRatioList)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadRatios(keys, layers));
  }
  if (!keys.HasValue(kTypes)) return kinds;
  FM_ASSIGN_OR_RETURN(std::vector<size_t> typed, ReadKinds(keys, kTypes, kKinds, layers));
  if (keys.HasValue(kRatioList) && typed != kinds) {
    return keys.Wrong(kRatioList, "it contradicts layer_types");
  }
  return typed;
}

// Tokens of an entry under the key of Transformers or an older one of its own.
absl::StatusOr<int64_t> ReadRate(const ConfigReader& keys, std::string_view kind, const char* older,
                                 int64_t published) {
  const std::string key = fmt::format("compress_rates.{}", kind);
  FM_ASSIGN_OR_RETURN(const int64_t rate, keys.Int(key, published, kRates));
  FM_ASSIGN_OR_RETURN(const auto old, keys.OptionalInt(older, kRates));
  if (old && keys.HasValue(key) && *old != rate) {
    return keys.Wrong(older, fmt::format("it contradicts {} = {}", key, rate));
  }
  const int64_t result = old.value_or(rate);
  if (keys.HasValue(kRatioList) && result != published) {
    return keys.Wrong(kRatioList, fmt::format("entries of layers with {} are made of {} tokens by "
                                              "another key; name these layers by layer_types",
                                              published, result));
  }
  return result;
}

absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const auto kinds, ReadAttentionKinds(keys, config.layers.size()));
  FM_ASSIGN_OR_RETURN(const int64_t window, keys.Int("sliding_window", 128));
  FM_ASSIGN_OR_RETURN(const int64_t sparse, ReadRate(keys, kSparse, "compress_rate_csa", 4));
  FM_ASSIGN_OR_RETURN(const int64_t heavy, ReadRate(keys, kHeavy, "compress_rate_hca", 128));
  const int64_t rates[] = {0, sparse, heavy};
  for (size_t i = 0; i < kinds.size(); ++i) {
    LayerConfig& layer = config.layers[i];
    layer.mixer = Mixer::kCompressed;
    layer.sinks = true;
    layer.sliding_window = window;
    layer.compression = rates[kinds[i]];
    layer.overlapping = kKinds[kinds[i]] == kSparse;
    layer.local_rope = layer.compression == 0;
  }
  return absl::OkStatus();
}

// Layers whose experts a table names: the first few, or those that are listed.
absl::Status ReadHashLayers(const ConfigReader& keys, ModelConfig& config) {
  const size_t layers = config.layers.size();
  FM_ASSIGN_OR_RETURN(const int64_t first, keys.Int(kHashLayers, 3, {0, INT32_MAX}));
  std::vector<size_t> kinds(layers);
  for (size_t i = 0; i < layers; ++i) kinds[i] = static_cast<int64_t>(i) < first ? 0 : 1;
  if (keys.HasValue(kFeedTypes)) {
    FM_ASSIGN_OR_RETURN(std::vector<size_t> typed, ReadKinds(keys, kFeedTypes, kFeeds, layers));
    if (keys.HasValue(kHashLayers) && typed != kinds) {
      return keys.Wrong(kHashLayers, "it contradicts mlp_layer_types");
    }
    kinds = std::move(typed);
  }
  for (size_t i = 0; i < layers; ++i) {
    if (kinds[i] != 0) continue;
    config.layers[i].hashed = true;
    config.layers[i].top_k = config.moe.top_k;  // its table has as many
  }
  return absl::OkStatus();
}

// What experts are stored as: what the file has decides (runtime/quant/fp8_block.cc).
absl::Status CheckExpertType(const ConfigReader& keys) {
  FM_ASSIGN_OR_RETURN(const auto type, keys.OptionalString("expert_dtype"));
  const std::string name = type.value_or("bf16");
  if (name == "fp4" || name == "fp8" || name == "bf16" || name == "bfloat16") {
    return absl::OkStatus();
  }
  return keys.Wrong("expert_dtype",
                    "experts of this type cannot be read: known are fp4, fp8 and bf16; use a "
                    "checkpoint whose experts are, and say so here");
}

absl::Status ReadExperts(const ConfigReader& keys, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  FM_RETURN_IF_ERROR(CheckExpertType(keys));
  if (config.activation != Activation::kSilu) {
    return keys.Wrong("hidden_act", "limits of gate and up are known for silu only");
  }
  config.activation = Activation::kCappedSwiglu;
  FM_ASSIGN_OR_RETURN(config.swiglu_limit, keys.Float("swiglu_limit", 10.0f, 0.0));
  FM_ASSIGN_OR_RETURN(moe.routed_scaling, keys.Number("routed_scaling_factor", 1.5, 0.0));
  FM_ASSIGN_OR_RETURN(const auto scores, keys.OptionalString("scoring_func"));
  const std::string score_name = scores.value_or("sqrtsoftplus");
  moe.sigmoid_scores = score_name == "sigmoid";
  if (score_name != "sqrtsoftplus" && !moe.sigmoid_scores) {
    return keys.Wrong("scoring_func", "known: sqrtsoftplus, sigmoid");
  }
  moe.selection_bias = true;
  moe.shared_intermediate = moe.intermediate;
  return ReadHashLayers(keys, config);
}

absl::Status ReadCompressed(const ConfigReader& keys, ModelConfig& config) {
  CompressedConfig& compressed = config.compressed;
  IndexerConfig& indexer = compressed.indexer;
  if (config.kv_heads != 1) {
    return keys.Wrong("num_key_value_heads", "all heads share one: it must be 1");
  }
  FM_ASSIGN_OR_RETURN(compressed.q_rank, keys.Int("q_lora_rank", 1024, kSizes));
  FM_ASSIGN_OR_RETURN(compressed.output_groups, keys.Int("o_groups", 8, kSizes));
  FM_ASSIGN_OR_RETURN(compressed.output_rank, keys.Int("o_lora_rank", 1024, kSizes));
  if (config.heads % compressed.output_groups != 0) {
    return keys.Wrong("o_groups",
                      fmt::format("it must divide num_attention_heads = {}", config.heads));
  }
  FM_ASSIGN_OR_RETURN(indexer.heads, keys.Int("index_n_heads", 64, kSizes));
  FM_ASSIGN_OR_RETURN(indexer.head_dim, keys.Int("index_head_dim", 128, kSizes));
  FM_ASSIGN_OR_RETURN(indexer.top_k, keys.Int("index_topk", 512, {1, 1 << 24}));
  if (indexer.head_dim >= config.rope.dim) return absl::OkStatus();
  return keys.Wrong("index_head_dim", fmt::format("its last {} numbers turn", config.rope.dim));
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLayers(keys, config));
  FM_RETURN_IF_ERROR(ReadMainAndCompressRopes(keys, config));
  FM_RETURN_IF_ERROR(ReadCompressed(keys, config));
  HyperConfig& hyper = config.hyper;
  FM_ASSIGN_OR_RETURN(hyper.streams, keys.Int("hc_mult", 4, {1, kMostStreams}));
  FM_ASSIGN_OR_RETURN(hyper.iterations, keys.Int("hc_sinkhorn_iters", 20, {1, 1000}));
  FM_ASSIGN_OR_RETURN(hyper.eps, keys.Number("hc_eps", 1e-6, kBelowZero));
  return ReadExperts(keys, config);
}

constexpr OtherNames kOtherNames[] = {{.tensor = "model.layers.0.attn_norm.weight",
                                       .layers = "model.layers.",
                                       .layer_names = MixedLayerNames,
                                       .end_names = MixedEndNames},
                                      {.tensor = "model.embed_tokens.weight",
                                       .layers = "model.layers.",
                                       .layer_names = TransformersLayerNames,
                                       .end_names = TransformersEndNames}};

// Scores are square roots; the bias of a layer counts in the choice alone.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = config.moe.sigmoid_scores ? ScoreFn::kSigmoid : ScoreFn::kSqrtSoftplus;
  gate.norm_eps = 1e-20;
  return gate;
}

}  // namespace

const Family kDeepseekV4 = {
    .config = {.architecture = "DeepseekV4ForCausalLM",
               .model_type = "deepseek_v4",
               .vocab = 129280,
               .hidden = 4096,
               .layers = 43,
               .heads = 64,
               .kv_heads = 1,
               .max_positions = 1048576,
               .head_dim = 512,
               .own_rope = true,
               .eos = 1,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 6,
               .moe_intermediate = 2048,
               .dense = DenseRule::kOwn,
               .local_experts_alias = true,
               .aliases = kAliases,
               .nested = kNested,
               .fixed = kFixed,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = AuthorsLayerNames,
    .end_names = AuthorsEndNames,
    .layers = "layers.",
    .other_names = kOtherNames,
    .gate = PublishedGate,
    .unused = kUnused,
};

}  // namespace folkmoot
