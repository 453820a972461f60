// SPDX-License-Identifier: Apache-2.0
// Flint (Recursive 2026): Qwen3-MoE with sinks in every layer, of which those with a window rotate
// q and k and the others do not; experts chosen and weighed by sigmoids, without a bias, beside a
// shared one that has no gate.
#include <algorithm>

#include "layers/models/family.h"
#include "layers/models/layer_kinds.h"

namespace folkmoot {
namespace {

constexpr std::string_view kOwnKeys[] = {"sliding_window"};

// Where no key names the dense layers, they are the first two.
void SetDense(const ConfigReader& keys, ModelConfig& config) {
  if (keys.HasValue("mlp_only_layers")) return;
  const size_t dense = std::min<size_t>(2, config.layers.size());
  for (size_t i = 0; i < dense; ++i) config.layers[i].moe = false;
}

absl::Status Read(const ConfigSource& source, ModelConfig& config) {
  const size_t last = config.layers.size() - 1;
  const auto slides = [last](size_t i) { return i >= 2 && i % 4 != 1 && i != last; };
  FM_RETURN_IF_ERROR(ReadSlidingLayers(source.keys, 513, slides, config));
  for (LayerConfig& layer : config.layers) {
    layer.rope = layer.sliding_window > 0;
    layer.sinks = true;
  }
  SetDense(source.keys, config);
  return absl::OkStatus();
}

GateConfig PublishedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.score_fn = ScoreFn::kSigmoid;
  return gate;
}

LayerNames SavedNames(const std::string& prefix) {
  LayerNames names = UsualLayerNames(prefix);
  names.moe.shared_prefix = prefix + "mlp.shared_expert.";
  return names;
}

LayerNames Names(const std::string& prefix) {
  LayerNames names = SavedNames(prefix);
  names.attention.sinks = prefix + "self_attn.softmax_offset";
  return names;
}

// As Transformers' modules have them.
constexpr OtherNames kOtherNames[] = {{.tensor = "model.layers.0.self_attn.sinks",
                                       .layers = "model.layers.",
                                       .layer_names = SavedNames,
                                       .end_names = UsualEndNames}};

}  // namespace

const Family kFlint = {
    .config = {.architecture = "FlintForCausalLM",
               .model_type = "flint",
               .vocab = 150144,
               .hidden = 2048,
               .intermediate = 6144,
               .layers = 49,
               .heads = 32,
               .kv_heads = 4,
               .max_positions = 262144,
               .head_dim = 128,
               .bias = BiasRule::kAttentionKey,
               .qk_norm = QkNormKind::kHeads,
               .window = WindowRule::kOwn,
               .kv_heads_null = false,
               .head_dim_null = false,
               .experts = 256,
               .top_k = 6,
               .moe_intermediate = 512,
               .shared_intermediate = 1024,
               .dense = DenseRule::kSparseStep,
               .norm_topk_key = true,
               .norm_topk = true,
               .own_keys = kOwnKeys,
               .read = Read},
    .layer_names = Names,
    .other_names = kOtherNames,
    .gate = PublishedGate,
};

}  // namespace folkmoot
