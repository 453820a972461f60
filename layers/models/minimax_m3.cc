// SPDX-License-Identifier: Apache-2.0
// MiniMax-M3 (MiniMax 2026), alone and as the text model of its multimodal checkpoint: the experts
// of MiniMax-M2 beside a shared one, with clamped SwiGLU in all networks, norms that multiply with
// 1 + weight, and layers in which each head of keys sees the blocks that its indexer chose
// (layers/block_indexer.h). The layers for multi-token prediction are not used.
//
// config.json has the authors' keys (sparse_attention_config, moe_layer_freq) or those of
// Transformers, and must not contradict itself where it has both.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/layer_ropes.h"

namespace folkmoot {
namespace {

using nlohmann::json;

constexpr const char* kSparse = "sparse_attention_config";
constexpr const char* kLayerTypes = "layer_types";
constexpr const char* kMlpTypes = "mlp_layer_types";
constexpr const char* kMlpFlags = "moe_layer_freq";
constexpr const char* kSparseFlags = "sparse_attention_freq";
constexpr const char* kNoValues = "sparse_disable_index_value";

constexpr std::string_view kOwnKeys[] = {"rotary_dim",
                                         "shared_intermediate_size",
                                         "routed_scaling_factor",
                                         "swiglu_limit",
                                         kMlpTypes,
                                         kMlpFlags,
                                         "index_n_heads",
                                         "index_head_dim",
                                         "index_block_size",
                                         "index_topk_blocks",
                                         "index_local_blocks",
                                         kSparse,
                                         "num_mtp_modules",
                                         "mtp_transformer_layers",
                                         "use_mtp",
                                         "num_nextn_predict_layers"};
constexpr KeyAlias kAliases[] = {{"intermediate_size", "dense_intermediate_size"},
                                 {"moe_intermediate_size", "intermediate_size"}};
constexpr std::string_view kAbsent[] = {"hidden_act"};
constexpr FixedKey kFixed[] = {
    {"hidden_act", "\"swigluoai\""},   {"hidden_act", "\"silu\""},  // which nobody reads
    {"swiglu_alpha", "1.702"},         {"use_gemma_norm", "true"},
    {"use_qk_norm", "true"},           {"qk_norm_type", "\"per_head\""},
    {"scoring_func", "\"sigmoid\""},   {"use_routing_bias", "true"},
    {"norm_topk_prob", "true"},        {"n_shared_experts", "1"},
    {"attention_output_gate", "false"}};
// Of sparse_attention_config: what is not read, since only this is known.
constexpr FixedKey kSparseFixed[] = {
    {"use_sparse_attention", "true"}, {"sparse_score_type", "\"max\""}, {"sparse_init_block", "0"}};
constexpr std::string_view kBesideText[] = {"vision_config",
                                            "image_token_index",
                                            "video_token_index",
                                            "image_token_id",
                                            "video_token_id",
                                            "image_seq_length",
                                            "image_grid_pinpoints",
                                            "img_token_compression_config",
                                            "merged_hidden_size",
                                            "multimodal_projector_bias",
                                            "process_image_mode",
                                            "projector_hidden_act",
                                            "projector_hidden_size",
                                            "vision_feature_layer",
                                            "vision_feature_select_strategy"};
constexpr std::string_view kUnused[] = {"mtp.",
                                        "model.mtp.",
                                        "vision_tower.",
                                        "language_model.model.mtp.",
                                        "patch_merge_mlp.",
                                        "multi_modal_projector."};

// A number of the indexer: Transformers' key, and that in sparse_attention_config.
struct IndexKey {
  const char* flat;
  const char* nested;
  int64_t absent;
  IntRange range;
};
constexpr IntRange kSizes = {1, 1 << 16};
constexpr IndexKey kHeads = {"index_n_heads", "sparse_num_index_heads", 4, kSizes};
constexpr IndexKey kHeadDim = {"index_head_dim", "sparse_index_dim", 128, kSizes};
constexpr IndexKey kBlock = {"index_block_size", "sparse_block_size", 128, kSizes};
constexpr IndexKey kTopK = {"index_topk_blocks", "sparse_topk_blocks", 16, kSizes};
constexpr IndexKey kLocal = {"index_local_blocks", "sparse_local_block", 1, {0, 1 << 16}};

// The keys of the file and those in sparse_attention_config.
struct SparseKeys {
  const ConfigReader& keys;
  ConfigReader nested;

  absl::Status Wrong(const IndexKey& key, std::string_view wanted) const {
    return nested.HasValue(key.nested) ? nested.Wrong(key.nested, wanted)
                                       : keys.Wrong(key.flat, wanted);
  }
  absl::StatusOr<int64_t> Int(const IndexKey& key) const {
    FM_ASSIGN_OR_RETURN(const auto flat, keys.OptionalInt(key.flat, key.range));
    FM_ASSIGN_OR_RETURN(const auto old, nested.OptionalInt(key.nested, key.range));
    if (flat && old && *flat != *old) {
      return nested.Wrong(key.nested, fmt::format("it contradicts {}", key.flat));
    }
    return old.value_or(flat.value_or(key.absent));
  }
};

absl::Status CheckSparseKeys(const ConfigReader& nested) {
  for (const auto& [key, value] : nested.object().items()) {
    bool known = key == kSparseFlags || key == kNoValues;
    for (const IndexKey& own : {kHeads, kHeadDim, kBlock, kTopK, kLocal}) {
      known = known || key == own.nested;
    }
    for (const FixedKey& fixed : kSparseFixed) {
      if (key != fixed.key) continue;
      known = true;
      if (value.is_null() || value == json::parse(fixed.value)) continue;
      return nested.Wrong(key, fmt::format("{} only is known", fixed.value));
    }
    if (!known) return nested.Wrong(key, "MiniMax-M3 has no such key");
  }
  return absl::OkStatus();
}

// A list that says yes (1, true) or no (0, false) of each layer; empty: the key is absent or null.
absl::StatusOr<std::vector<bool>> ReadFlags(const ConfigReader& keys, const char* key,
                                            size_t layers) {
  std::vector<bool> flags;
  if (!keys.HasValue(key)) return flags;
  const json& list = *keys.Find(key);
  if (!list.is_array() || list.size() != layers) return keys.WrongLength(key, layers);
  for (const json& entry : list) {
    if (entry.is_boolean()) {
      flags.push_back(entry.get<bool>());
    } else if (entry == 0 || entry == 1) {
      flags.push_back(entry == 1);
    } else {
      return keys.Wrong(key,
                        fmt::format("of each entry: it must be 0 or 1, not {}", ShowJson(entry)));
    }
  }
  return flags;
}

// Sets `field` of each layer, or, where a list of names has said that already, compares.
absl::Status ApplyFlags(const ConfigReader& keys, const char* key, const char* names, bool named,
                        bool LayerConfig::*field, ModelConfig& config) {
  FM_ASSIGN_OR_RETURN(const std::vector<bool> flags, ReadFlags(keys, key, config.layers.size()));
  for (size_t i = 0; i < flags.size(); ++i) {
    if (named && config.layers[i].*field != flags[i]) {
      return keys.Wrong(key, fmt::format("it contradicts {} at layer {}", names, i));
    }
    config.layers[i].*field = flags[i];
  }
  return absl::OkStatus();
}

// Which layers are sparse; without either list none is.
absl::Status ReadSparseLayers(const SparseKeys& sparse, ModelConfig& config) {
  constexpr std::array<std::string_view, 2> kKnown = {"full_attention", "minimax_m3_sparse"};
  const bool named = sparse.keys.HasValue(kLayerTypes);
  if (named) {
    FM_ASSIGN_OR_RETURN(const auto kinds,
                        ReadLayerKinds(sparse.keys, kLayerTypes, kKnown, config.layers.size()));
    for (size_t i = 0; i < kinds.size(); ++i) config.layers[i].indexer = kinds[i] == 1;
  }
  FM_RETURN_IF_ERROR(
      ApplyFlags(sparse.nested, kSparseFlags, kLayerTypes, named, &LayerConfig::indexer, config));
  FM_ASSIGN_OR_RETURN(const auto without,
                      ReadFlags(sparse.nested, kNoValues, config.layers.size()));
  for (size_t i = 0; i < without.size(); ++i) {
    if (without[i] || !config.layers[i].indexer) continue;
    return sparse.nested.Wrong(
        kNoValues, fmt::format("layer {} is sparse: indexers with values are not known", i));
  }
  return absl::OkStatus();
}

absl::Status ReadIndexer(const ConfigReader& keys, ModelConfig& config) {
  const json none = json::object();
  const json* object = keys.HasValue(kSparse) ? keys.Find(kSparse) : &none;
  if (!object->is_object()) return keys.Wrong(kSparse, "it must be an object");
  const SparseKeys sparse = {keys,
                             ConfigReader(*object, fmt::format("{}{}.", keys.prefix(), kSparse))};
  FM_RETURN_IF_ERROR(CheckSparseKeys(sparse.nested));
  FM_RETURN_IF_ERROR(ReadSparseLayers(sparse, config));
  IndexerConfig indexer;
  FM_ASSIGN_OR_RETURN(indexer.heads, sparse.Int(kHeads));
  FM_ASSIGN_OR_RETURN(indexer.head_dim, sparse.Int(kHeadDim));
  FM_ASSIGN_OR_RETURN(indexer.block, sparse.Int(kBlock));
  FM_ASSIGN_OR_RETURN(indexer.local_blocks, sparse.Int(kLocal));
  FM_ASSIGN_OR_RETURN(const int64_t blocks, sparse.Int(kTopK));
  indexer.top_k = blocks * indexer.block;
  if (config.indexers() == 0) return absl::OkStatus();
  if (indexer.heads != config.kv_heads) {
    return sparse.Wrong(kHeads, fmt::format("each of the {} heads of num_key_value_heads has one",
                                            config.kv_heads));
  }
  const int64_t turning = config.rope.dim > 0
                              ? config.rope.dim
                              : static_cast<int64_t>(static_cast<double>(config.head_dim) *
                                                     config.rope.partial_rotary_factor);
  if (indexer.head_dim < turning) {
    return sparse.Wrong(kHeadDim,
                        fmt::format("its first {} numbers turn, as those of heads do", turning));
  }
  if (indexer.local_blocks > blocks) {
    return sparse.Wrong(kLocal,
                        fmt::format("of {} blocks at most so many can be the last", blocks));
  }
  constexpr int64_t kMost = int64_t{1} << 24;
  if (indexer.top_k > kMost) {
    return sparse.Wrong(kTopK, fmt::format("{} keys at most can be chosen", kMost));
  }
  config.indexer = indexer;
  return absl::OkStatus();
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadRotaryDim(source, config));
  config.activation = Activation::kClampedSwiglu;
  FM_ASSIGN_OR_RETURN(config.swiglu_limit, keys.Float("swiglu_limit", 7.0f, 0.0));
  config.moe.selection_bias = true;
  FM_ASSIGN_OR_RETURN(config.moe.routed_scaling, keys.Number("routed_scaling_factor", 2.0, 0.0));
  FM_ASSIGN_OR_RETURN(config.moe.shared_intermediate,
                      keys.Int("shared_intermediate_size", 3072, kWidthRange));
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(
      ApplyFlags(keys, kMlpFlags, kMlpTypes, keys.HasValue(kMlpTypes), &LayerConfig::moe, config));
  return ReadIndexer(keys, config);
}

// As published.
LayerNames Names(const std::string& prefix) {
  const std::string attention = prefix + "self_attn.index_";
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = SparseBlockNames(prefix);
  names.attention.index_q = attention + "q_proj";
  names.attention.index_k = attention + "k_proj";
  names.attention.index_q_norm = attention + "q_norm";
  names.attention.index_k_norm = attention + "k_norm";
  names.moe.selection_bias = block + "e_score_correction_bias";
  names.moe.shared_prefix = block + "shared_experts.";
  return names;
}

// As Transformers writes the text model alone.
LayerNames TextNames(const std::string& prefix) {
  const std::string indexer = prefix + "self_attn.indexer.";
  const std::string mlp = prefix + "mlp.";
  LayerNames names = UsualLayerNames(prefix);
  names.attention.index_q = indexer + "q_proj";
  names.attention.index_k = indexer + "k_proj";
  names.attention.index_q_norm = indexer + "q_norm";
  names.attention.index_k_norm = indexer + "k_norm";
  names.dense_gate_up = mlp + "gate_up_proj";
  names.dense_down = mlp + "down_proj";
  names.moe.experts.always_packed = true;
  names.moe.shared_gate_up = mlp + "shared_experts.gate_up_proj.weight";
  names.moe.shared_down = mlp + "shared_experts.down_proj.weight";
  return names;
}

GateConfig SigmoidGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  return gate;
}

constexpr ConfigFamily kText = {.architecture = "MiniMaxM3VLForCausalLM",
                                .model_type = "minimax_m3_vl_text",
                                .vocab = 200064,
                                .hidden = 6144,
                                .intermediate = 12288,
                                .layers = 60,
                                .heads = 64,
                                .kv_heads = 4,
                                .max_positions = 524288,
                                .head_dim = 128,
                                .norm = NormKind::kRmsPlusOne,
                                .rope_theta = 5e6,
                                .partial_rotary = 1.0,
                                .own_rope = true,
                                .eos = 200020,
                                .qk_norm = QkNormKind::kHeads,
                                .window = WindowRule::kOwn,
                                .kv_heads_null = false,
                                .head_dim_null = false,
                                .experts = 128,
                                .top_k = 4,
                                .moe_intermediate = 3072,
                                .dense = DenseRule::kOwn,
                                .local_experts_alias = true,
                                .aliases = kAliases,
                                .fixed = kFixed,
                                .absent_keys = kAbsent,
                                .own_keys = kOwnKeys,
                                .read = Read};

constexpr ConfigFamily MultimodalConfig() {
  ConfigFamily config = kText;
  config.architecture = "MiniMaxM3SparseForConditionalGeneration";
  config.model_type = "minimax_m3_vl";
  config.text_model_type = kText.model_type;
  config.other_text_model_type = "minimax_m3";
  config.beside_text = kBesideText;
  return config;
}

}  // namespace

const Family kMinimaxM3 = {
    .config = kText, .layer_names = TextNames, .gate = SigmoidGate, .unused = kUnused};
const Family kMinimaxM3Multimodal = {.config = MultimodalConfig(),
                                     .layer_names = Names,
                                     .end_names = LanguageModelEndNames,
                                     .layers = "language_model.model.layers.",
                                     .gate = SigmoidGate,
                                     .unused = kUnused};

}  // namespace folkmoot
