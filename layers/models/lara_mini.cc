// SPDX-License-Identifier: Apache-2.0
// Lara-4 Mini (Translated 2026): layers of Qwen3.5's gated delta rule, of attention with a window,
// which rotates, and of attention that sees all of the past, which does not. Experts by softmax
// beside a shared one without a gate. Norms multiply by their weights, unlike Qwen's.
#include <array>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"
#include "layers/models/qwen_parts.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"sliding_window",       "linear_conv_kernel_dim",
                                         "linear_key_head_dim",  "linear_value_head_dim",
                                         "linear_num_key_heads", "linear_num_value_heads"};
constexpr std::array<std::string_view, 3> kKinds = {"linear_attention", "sliding_attention",
                                                    "full_attention"};
enum Kind : size_t { kLinear, kSliding, kFull };

// layer_types, where given; else the pattern of the released model, over and over.
absl::Status ReadLayers(const ConfigReader& keys, ModelConfig& config) {
  constexpr const char* kTypes = "layer_types";
  constexpr std::array<size_t, 5> kReleased = {kLinear, kSliding, kLinear, kFull, kSliding};
  FM_ASSIGN_OR_RETURN(const int64_t window, keys.Int("sliding_window", 512));
  std::vector<size_t> kinds;
  if (keys.HasValue(kTypes)) {
    FM_ASSIGN_OR_RETURN(kinds, ReadLayerKinds(keys, kTypes, kKinds, config.layers.size()));
  }
  const bool listed = !kinds.empty();
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const size_t kind = listed ? kinds[i] : kReleased[i % kReleased.size()];
    LayerConfig& layer = config.layers[i];
    layer.mixer = kind == kLinear ? Mixer::kRecurrent : Mixer::kAttention;
    layer.sliding_window = kind == kSliding ? window : 0;
    layer.rope = kind == kSliding;
  }
  return CheckAttends(keys, listed ? kTypes : "num_hidden_layers", config);
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  FM_RETURN_IF_ERROR(ReadGatedDelta(source.keys, {.key_heads = 8, .value_heads = 16}, config));
  return ReadLayers(source.keys, config);
}

LayerNames Names(const std::string& prefix) {
  const std::string mixer = prefix + "linear_attn.";
  LayerNames names = UsualLayerNames(prefix);
  names.recurrent = GatedDeltaNames(mixer);
  names.recurrent.qkvzba = mixer + "in_proj";
  names.recurrent.norm = mixer + "out_norm";
  names.moe.shared_prefix = prefix + "mlp.shared_expert.";
  return names;
}

}  // namespace

const Family kLaraMini = {
    .config = {.architecture = "LaraMiniForCausalLM",
               .model_type = "lara_mini",
               .vocab = 151936,
               .hidden = 1024,
               .layers = 34,
               .heads = 16,
               .kv_heads = 4,
               .max_positions = 131072,
               .head_dim = 128,
               .eos = 151643,
               .tied_embeddings = true,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 128,
               .top_k = 4,
               .moe_intermediate = 512,
               .shared_intermediate = 512,
               .norm_topk_key = true,
               .norm_topk = true,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .gate = TopKGate,
};

}  // namespace folkmoot
