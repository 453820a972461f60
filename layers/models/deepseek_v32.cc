// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V3.2 (arXiv 2512.02556) and GLM-5 (arXiv 2602.15763): DeepSeek-V3 whose latent attention
// is sparse (layers/lightning_indexer.h). In GLM-5.2 some layers take over the keys that the last
// indexer before them chose (arXiv 2603.12201). A.X-K2 (SK Telecom 2026) has gated heads and norms
// beside it. The layer for multi-token prediction is not used.
#include "layers/models/deepseek_parts.h"
#include "layers/models/sparse_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {
    "n_group",        "topk_group",    "routed_scaling_factor",    "n_shared_experts",
    "index_topk",     "index_n_heads", "index_head_dim",           "mlp_layer_types",
    "aux_loss_alpha", "seq_aux",       "num_nextn_predict_layers", "num_mtp_layers",
    "ep_size"};
constexpr std::string_view kGlmKeys[] = {
    "n_group", "topk_group", "routed_scaling_factor", "n_shared_experts", "index_topk",
    "index_n_heads", "index_head_dim", "mlp_layer_types", kIndexerTypes, kIndexerPattern,
    kIndexerEvery, kIndexerOffset, "num_mtp_layers", "ep_size", "num_nextn_predict_layers",
    // Of the layer for multi-token prediction, which is not used.
    "index_share_for_mtp_iteration"};
constexpr KeyAlias kAliases[] = {{"num_experts", "n_routed_experts"}};
// Indexers of DeepSeek turn halves (a demonstration of the authors once turned neighbours, as they
// say themselves), those of GLM neighbours.
constexpr FixedKey kFixed[] = {{"scoring_func", "\"sigmoid\""},
                               {"topk_method", "\"noaux_tc\""},
                               {"moe_layer_freq", "1"},
                               {"rope_interleave", "true"},
                               {"indexer_rope_interleave", "false"}};
constexpr FixedKey kGlmFixed[] = {{"scoring_func", "\"sigmoid\""},
                                  {"topk_method", "\"noaux_tc\""},
                                  {"moe_layer_freq", "1"},
                                  {"rope_interleave", "true"},
                                  {"indexer_rope_interleave", "true"},
                                  {"moe_router_dtype", "\"float32\""}};

constexpr std::string_view kAxKeys[] = {"n_group",
                                        "topk_group",
                                        "routed_scaling_factor",
                                        "n_shared_experts",
                                        "index_topk",
                                        "index_n_heads",
                                        "index_head_dim",
                                        "mlp_layer_types",
                                        "aux_loss_alpha",
                                        "seq_aux",
                                        "num_nextn_predict_layers",
                                        "num_mtp_layers",
                                        "gated_norm_rank",
                                        "ep_size",
                                        "moe_layer_freq"};
constexpr FixedKey kAxFixed[] = {
    {"scoring_func", "\"sigmoid\""}, {"topk_method", "\"noaux_tc\""},
    {"gated_norm", "true"},          {"attention_output_gate", "true"},
    {"rope_interleave", "true"},     {"indexer_rope_interleave", "false"}};

// The parts that both have.
absl::Status ReadSparse(const ConfigSource& source, int64_t index_heads, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadIndexer(source.keys, index_heads, config));
  FM_RETURN_IF_ERROR(ReadSparseLayerTypes(source.keys, config));
  config.rope.neighbours = true;
  return ReadMlpLayerTypes(source.keys, config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadLatent(source, {}, config));
  FM_RETURN_IF_ERROR(
      ReadBiasedExperts(source.keys, {.groups = 8, .chosen = 4}, 2.5, 1, config.moe));
  return ReadSparse(source, 64, config);
}

absl::Status ReadGlm(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLatent(
      source, {.q_rank = 2048, .nope_dim = 192, .value_dim = 256, .nope_head_dim = true}, config));
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.5, 1, config.moe));
  FM_RETURN_IF_ERROR(ReadSparse(source, 32, config));
  config.indexer.neighbours = true;
  FM_ASSIGN_OR_RETURN(const char* const rule, ReadIndexerTypes(keys, config));
  return CheckFirstIndexer(keys, rule, config);
}

// Only every so many layers behind the leading ones have experts.
absl::Status ReadEveryNth(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kNth = "moe_layer_freq";
  FM_ASSIGN_OR_RETURN(const int64_t nth, keys.Int(kNth, 1, {1, 1 << 20}));
  return KeepExperts(
      keys, kNth, [nth](size_t i) { return static_cast<int64_t>(i) % nth == 0; }, config);
}

absl::Status ReadAxk2(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLatent(
      source,
      {.q_rank = 384, .kv_rank = 128, .nope_dim = 64, .value_dim = 64, .nope_head_dim = true},
      config));
  config.latent.gated = true;
  FM_ASSIGN_OR_RETURN(config.norm_gate_rank, keys.Int("gated_norm_rank", 16, {1, 1 << 16}));
  if (keys.HasValue("n_group") != keys.HasValue("topk_group")) {
    return keys.Wrong("n_group", "topk_group goes with it: give both or none");
  }
  if (keys.HasValue("n_group")) FM_RETURN_IF_ERROR(ReadGroups(keys, {}, config.moe));
  config.moe.selection_bias = true;
  FM_RETURN_IF_ERROR(ReadScaledAndShared(keys, 2.5, 1, config.moe));
  FM_RETURN_IF_ERROR(ReadSparse(source, 16, config));
  return ReadEveryNth(keys, config);
}

// Experts of groups that lose count as 0, and may come before others with a negative bias.
GateConfig Axk2Gate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  if (gate.n_group > 1) gate.group_fill = 0.0;
  return gate;
}

}  // namespace

const Family kAxk2 = {
    .config = {.architecture = "AXK2ForCausalLM",
               .model_type = "axk2",
               .vocab = 163840,
               .hidden = 2048,
               .intermediate = 5120,
               .layers = 48,
               .heads = 32,
               .kv_heads = 32,
               .max_positions = 131072,
               .head_dim = 96,
               .latent_rope_dim = 32,
               .eos = 163691,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .experts = 128,
               .top_k = 8,
               .moe_intermediate = 512,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kAxFixed,
               .own_keys = kAxKeys,
               .read = ReadAxk2},
    .gate = Axk2Gate,
    .unused = kPredictionLayers,
};

const Family kDeepseekV32 = {
    .config = {.architecture = "DeepseekV32ForCausalLM",
               .model_type = "deepseek_v32",
               .vocab = 129280,
               .hidden = 7168,
               .intermediate = 18432,
               .layers = 61,
               .heads = 128,
               .kv_heads = 128,
               .max_positions = 163840,
               .head_dim = 192,
               .latent_rope_dim = 64,
               .eos = 1,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kFirst,
               .first_dense = 3,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kFixed,
               .own_keys = kOwnKeys,
               .read = Read},
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

const Family kGlmMoeDsa = {
    .config = {.architecture = "GlmMoeDsaForCausalLM",
               .model_type = "glm_moe_dsa",
               .vocab = 154880,
               .hidden = 6144,
               .intermediate = 12288,
               .layers = 78,
               .heads = 64,
               .kv_heads = 64,
               .max_positions = 202752,
               .head_dim = 256,
               .rms_norm_eps = 1e-5,
               .latent_rope_dim = 64,
               .eos = 1,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 2048,
               .dense = DenseRule::kFirst,
               .first_dense = 3,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kAliases,
               .fixed = kGlmFixed,
               .own_keys = kGlmKeys,
               .read = ReadGlm},
    .gate = BiasedSigmoidGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
