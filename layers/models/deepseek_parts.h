// SPDX-License-Identifier: Apache-2.0
// What DeepSeek's families have in common with those that took it over: latent attention, experts
// chosen in groups by biased sigmoid scores, shared experts of the width of routed ones.
#pragma once

#include <cstdint>
#include <functional>

#include "layers/models/family.h"
#include "runtime/config_family.h"

namespace folkmoot {

// Defaults of absent keys.
struct LatentDefaults {
  int64_t q_rank = 1536;
  int64_t kv_rank = 512;
  int64_t nope_dim = 128;
  int64_t value_dim = 128;
  bool any_head_dim = false;    // nobody reads key head_dim (Kimi Linear)
  bool any_kv_heads = false;    // nor num_key_value_heads (Hunyuan 4)
  bool whole_head_dim = false;  // key head_dim counts what does not turn too (Mistral 4)
  bool nope_head_dim = false;   // or, in some files, that alone, to no effect (GLM-5.2)
};
// Keys q_lora_rank (null: none), kv_lora_rank, qk_nope_head_dim, v_head_dim and, if it says the
// same as qk_rope_head_dim, head_dim. The scale of scores is that of the authors, with YaRN's
// mscale.
absl::Status ReadLatent(const ConfigSource& source, const LatentDefaults& defaults,
                        ModelConfig& config);
// In two halves, for families that read config.rope between them.
absl::Status ReadLatentDims(const ConfigSource& source, const LatentDefaults& defaults,
                            ModelConfig& config);
absl::Status SetLatentScale(const ConfigReader& keys, ModelConfig& config);

// Keys n_group and topk_group. A group has at least `smallest` experts: two, where its score is
// that of its two best.
struct GroupDefaults {
  int64_t groups = 1;
  int64_t chosen = 1;
  int64_t smallest = 2;
};
absl::Status ReadGroups(const ConfigReader& keys, const GroupDefaults& defaults, MoeConfig& moe);

// Keys routed_scaling_factor and n_shared_experts; 0 or null shared experts: none.
absl::Status ReadScaledAndShared(const ConfigReader& keys, double scaling, int64_t shared,
                                 MoeConfig& moe);

// The experts of DeepSeek-V2: keys num_experts_per_tok, which has no default, topk_method, n_group
// and topk_group where it says that there are groups, and those of ReadScaledAndShared; for
// GreedyGate.
absl::Status ReadGreedyExperts(const ConfigReader& keys, MoeConfig& moe);

// The experts of DeepSeek-V3: the keys of the two above, and a bias of each layer for
// BiasedSigmoidGate.
absl::Status ReadBiasedExperts(const ConfigReader& keys, const GroupDefaults& groups,
                               double scaling, int64_t shared, MoeConfig& moe);

// Key mlp_layer_types, where it is given, says which layers have experts, whatever
// first_k_dense_replace says: Transformers writes that one's default beside every list. Without a
// list, a count that is given must agree with the layers of the family.
absl::Status ReadMlpLayerTypes(const ConfigReader& keys, ModelConfig& config);

// Of the layers with experts those keep them for whose places `has` holds, as `key` says, which
// mlp_layer_types must not contradict.
absl::Status KeepExperts(const ConfigReader& keys, std::string_view key,
                         const std::function<bool(size_t layer)>& has, ModelConfig& config);

// DeepSeek-V2, as the authors have it: softmax scores as they are, times a factor, or, by
// norm_topk_prob, normalised in its place; a group's score is its best.
GateConfig GreedyGate(const ModelConfig& config);

// DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): chosen by sigmoid + bias of the layer, weighed by
// sigmoid alone; a group's score is the sum of its two best.
GateConfig BiasedSigmoidGate(const ModelConfig& config);

// Mistral 4: by softmax, without biases; groups as above.
GateConfig GroupedSoftmaxGate(const ModelConfig& config);

// The layer behind the last, for multi-token prediction.
inline constexpr std::string_view kPredictionLayers[] = {"model.layers.{}."};

}  // namespace folkmoot
