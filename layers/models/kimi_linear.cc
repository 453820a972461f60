// SPDX-License-Identifier: Apache-2.0
// Kimi Linear (Moonshot AI 2025, arXiv 2510.26692): most layers are linear attention whose memory
// forgets each number of a key by itself (layers/kimi_delta_attention.h), every few have latent
// attention that does not rotate. Experts are those of DeepSeek-V3. Files have the authors' keys or
// those of Transformers. Layers for multi-token prediction are not used.
#include <array>

#include "layers/models/deepseek_parts.h"
#include "layers/models/kimi_parts.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr std::string_view kLists[] = {"linear_attn_config.full_attn_layers",
                                       "linear_attn_config.kda_layers"};
// Nobody reads the last two.
constexpr std::string_view kOwnKeys[] = {"linear_attn_config.full_attn_layers",
                                         "linear_attn_config.kda_layers",
                                         "linear_attn_config.head_dim",
                                         "linear_attn_config.num_heads",
                                         "linear_attn_config.short_conv_kernel_size",
                                         "linear_head_dim",
                                         "linear_num_heads",
                                         "linear_conv_kernel_dim",
                                         "mlp_layer_types",
                                         "n_group",
                                         "num_expert_group",
                                         "topk_group",
                                         "routed_scaling_factor",
                                         "n_shared_experts",
                                         "num_shared_experts",
                                         "num_nextn_predict_layers",
                                         "head_dim"};
constexpr FixedKey kFixed[] = {{"moe_router_activation_func", "\"sigmoid\""},
                               {"moe_layer_freq", "1"},
                               {"mla_use_nope", "true"},
                               {"use_grouped_topk", "true"},
                               {"rope_scaling", "null"},
                               {"rope_parameters", "null"}};
constexpr std::string_view kAbsent[] = {"rope_scaling", "rope_parameters"};
constexpr std::string_view kNested[] = {"linear_attn_config"};

// The lists of layers by kind, counted from 1; empty: there are none.
absl::StatusOr<std::vector<size_t>> ListedKinds(const ConfigReader& keys, size_t layers) {
  constexpr size_t kNone = 2;
  if (!keys.HasValue(kLists[0]) || !keys.HasValue(kLists[1])) return std::vector<size_t>();
  std::vector<size_t> kinds(layers, kNone);
  for (size_t kind = 0; kind < 2; ++kind) {
    FM_ASSIGN_OR_RETURN(const auto listed,
                        keys.Ints(kLists[kind], {1, static_cast<int64_t>(layers)}));
    for (const int64_t number : listed) {
      size_t& of_layer = kinds[static_cast<size_t>(number - 1)];
      if (of_layer != kNone) {
        return keys.Wrong(kLists[kind], fmt::format("layer {} is listed twice", number));
      }
      of_layer = kind;
    }
  }
  for (size_t i = 0; i < layers; ++i) {
    if (kinds[i] != kNone) continue;
    return keys.Wrong(kLists[1], fmt::format("layer {} is in neither list", i + 1));
  }
  return kinds;
}

absl::Status ReadKinds(const ConfigReader& keys, ModelConfig& config) {
  constexpr std::array<std::string_view, 2> kKnown = {"full_attention", "linear_attention"};
  constexpr const char* kTypes = "layer_types";
  const size_t layers = config.layers.size();
  FM_ASSIGN_OR_RETURN(std::vector<size_t> kinds, ListedKinds(keys, layers));
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(const auto typed, ReadLayerKinds(keys, kTypes, kKnown, layers));
    if (!kinds.empty() && kinds != typed) {
      return keys.Wrong(kTypes, "it contradicts the lists of linear_attn_config");
    }
    kinds = typed;
  }
  for (size_t i = 0; i < layers; ++i) {
    const bool full = kinds.empty() ? i > 0 && i % 4 == 0 : kinds[i] == 0;
    config.layers[i].mixer = full ? Mixer::kAttention : Mixer::kRecurrent;
    config.layers[i].rope = false;
  }
  return CheckAttends(keys, keys.HasValue(kTypes) ? std::string_view(kTypes) : kLists[0], config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const ConfigReader& keys = source.keys;
  FM_RETURN_IF_ERROR(ReadLatent(source, {.q_rank = 0, .any_head_dim = true}, config));
  FM_RETURN_IF_ERROR(ReadBiasedExperts(keys, {}, 2.446, 1, config.moe));
  FM_RETURN_IF_ERROR(ReadMlpLayerTypes(keys, config));
  FM_RETURN_IF_ERROR(ReadKimiAttention(keys, {}, config));
  return ReadKinds(keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string block = prefix + "block_sparse_moe.";
  LayerNames names = SparseBlockNames(prefix);
  // Transformers, where it writes, takes a dense network, too, for one with experts.
  names.other_dense_prefix = block;
  names.moe.packed_router.clear();
  names.moe.selection_bias = block + "gate.e_score_correction_bias";
  names.moe.shared_prefix = block + "shared_experts.";
  names.recurrent = KimiAttentionNames(prefix + "self_attn.");
  return names;
}

// The authors do not normalise the weight of a token's only expert.
GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = BiasedSigmoidGate(config);
  if (config.moe.top_k == 1) gate.normalize = Normalize::kNone;
  return gate;
}

}  // namespace

const Family kKimiLinear = {
    .config = {.architecture = "KimiLinearForCausalLM",
               .model_type = "kimi_linear",
               .vocab = 163840,
               .hidden = 2304,
               .intermediate = 9216,
               .layers = 27,
               .heads = 32,
               .max_positions = 1048576,
               .head_dim = 192,
               .rms_norm_eps = 1e-5,
               .latent_rope_dim = 64,
               .eos = 163586,
               .bias = BiasRule::kAttentionKey,
               .window = WindowRule::kOwn,
               .experts = 256,
               .top_k = 8,
               .moe_intermediate = 1024,
               .dense = DenseRule::kFirst,
               .first_dense = 1,
               .local_experts_alias = true,
               .norm_topk_key = true,
               .norm_topk = true,
               .aliases = kKimiAliases,
               .nested = kNested,
               .fixed = kFixed,
               .absent_keys = kAbsent,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = PublishedGate,
    .unused = kPredictionLayers,
};

}  // namespace folkmoot
