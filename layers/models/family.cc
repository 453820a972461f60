// SPDX-License-Identifier: Apache-2.0
#include "layers/models/family.h"

namespace folkmoot {
namespace {

#define FOLKMOOT_POINT(family) &family,
constexpr const Family* kFamilies[] = {FOLKMOOT_FAMILIES(FOLKMOOT_POINT)};
#undef FOLKMOOT_POINT

}  // namespace

std::span<const Family* const> Families() { return kFamilies; }

const Family* FindFamily(const std::string& architecture) {
  for (const Family* family : kFamilies) {
    if (architecture == family->config.architecture) return family;
  }
  return nullptr;
}

LayerNames NamesOf(const Family& family, const std::string& prefix, int64_t block) {
  if (family.block_names == nullptr) return family.layer_names(prefix);
  return family.block_names(prefix, static_cast<int>(block));
}

const OtherNames* OtherNamesIn(const Family& family, const WeightLoader& loader) {
  for (const OtherNames& other : family.other_names) {
    if (loader.Has(other.tensor)) return &other;
  }
  return nullptr;
}

EndNames EndNamesOf(const Family& family, const WeightLoader& loader) {
  const OtherNames* const other = OtherNamesIn(family, loader);
  return other != nullptr ? other->end_names() : family.end_names();
}

LayerNames LayerNamesOf(const Family& family, const WeightLoader& loader, int64_t index) {
  if (const OtherNames* const other = OtherNamesIn(family, loader); other != nullptr) {
    return other->layer_names(fmt::format("{}{}.", other->layers, index));
  }
  const int64_t published = index / family.blocks_per_layer;
  LayerNames names = NamesOf(family, fmt::format("{}{}.", family.layers, published),
                             index % family.blocks_per_layer);
  if (!names.other_dense_prefix.empty() &&
      loader.Has(names.other_dense_prefix + "down_proj.weight")) {
    names.dense_prefix = names.other_dense_prefix;
  }
  MoeNames& moe = names.moe;
  if (!loader.Has(moe.router) && loader.Has(moe.packed_router)) moe.router = moe.packed_router;
  if (!loader.Has(moe.selection_bias) && loader.Has(moe.packed_selection_bias)) {
    moe.selection_bias = moe.packed_selection_bias;
  }
  return names;
}

LayerNames DecoderLayerNamesOf(const Family& family, int64_t index) {
  return family.decoder_names(fmt::format("{}{}.", family.decoder_layers, index));
}

GateConfig TopKGate(const ModelConfig& config) {
  GateConfig gate;
  gate.num_experts = static_cast<int>(config.moe.experts);
  gate.top_k = static_cast<int>(config.moe.top_k);
  gate.normalize = config.moe.norm_topk_prob ? Normalize::kBeforeDrop : Normalize::kNone;
  gate.scale = config.moe.routed_scaling;
  gate.shared = config.moe.shared_intermediate > 0;
  return gate;
}

GateConfig SigmoidSharedGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  if (gate.shared) gate.shared_gate = SharedGate::kSigmoid;
  return gate;
}

GateConfig SelectedSoftmaxGate(const ModelConfig& config) {
  GateConfig gate = TopKGate(config);
  gate.normalize = Normalize::kNone;  // the softmax over the chosen adds up to 1
  gate.score_fn = ScoreFn::kLogits;
  gate.weight_from = WeightFrom::kSoftmaxSelected;
  return gate;
}

}  // namespace folkmoot
