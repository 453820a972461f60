// SPDX-License-Identifier: Apache-2.0
// Per-layer embeddings, as Gemma 3n introduced them and Gemma 4 has them (Transformers'
// modeling_gemma4.py): each token has a second embedding, with some numbers for every layer, which
// are mixed with a projection of the first. A layer adds its part to the stream by way of a gate.
//
// Small beside the rest: every rank that shares matrices has all of it, so nothing travels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/norm.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"

namespace folkmoot {

// Makes the inputs of all layers.
class LayerInputs {
 public:
  static absl::StatusOr<LayerInputs> Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const EndNames& names);

  // `embedded` [T, H] is the first embedding of the tokens `ids`. Returns [T, layers * P] in the
  // workspace: (norm(W embedded / sqrt(H)) + sqrt(P) table[ids]) / sqrt(2), where the norm is that
  // of each layer's P numbers.
  Matrix Make(LayerContext& ctx, std::span<const int32_t> ids, ConstMatrix embedded) const;

 private:
  RowTable table_;           // [V, layers * P], read in place
  PackedMatrix projection_;  // [layers * P, H]
  std::vector<float> norm_;  // [P]
  float eps_ = 0;
};

// Adds those of one layer to the stream.
class LayerInput {
 public:
  static absl::StatusOr<LayerInput> Load(ThreadPool& pool, WeightLoader& loader,
                                         const ModelConfig& config, const LayerNames& names);

  // hidden [T, H] += norm(projection (act(gate hidden) * inputs)), inputs [T, P].
  void Add(LayerContext& ctx, ConstMatrix inputs, Matrix hidden) const;

 private:
  Activation activation_ = Activation::kSilu;
  GatedFfnWeights gate_;     // [P, H], a network without a gate of its own
  PackedMatrix projection_;  // [H, P]
  Norm norm_;
};

}  // namespace folkmoot
