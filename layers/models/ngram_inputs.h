// SPDX-License-Identifier: Apache-2.0
// Embeddings of n-grams in the streams of some layers (Qwen4-Exp; Transformers'
// modeling_qwen4_exp.py calls them per-layer embeddings): what hashes of a token and those before
// it find in a table (layers/ngram_hash.h) is a vector e. Of n streams of H numbers,
//
//   value[i] = sigmoid(root(norm(W_k e)[i] . norm(stream)[i] / sqrt(H))) W_v e
//   stream[i] += value[i] + silu(convolution of norm(value)[i])
//
// where root takes the square root and keeps the sign, and the convolution sees rows `size` apart.
//
// A sequence has a state in a slot, in the place of pages: what the convolution saw last, and the
// last tokens, as floats, which hold any id of a vocabulary below 2^24. Tables are read in place.
//
// Every rank that shares matrices has all of it, so nothing travels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/ngram_hash.h"
#include "layers/norm.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"
#include "runtime/ops/causal_convolution.h"
#include "runtime/ops/recurrent_state.h"

namespace folkmoot {

// Of one layer.
class NgramInputs {
 public:
  static absl::StatusOr<NgramInputs> Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, int64_t layer,
                                          const NgramNames& names);
  // The state of all layers with n-grams of `slots` sequences; empty: there are none.
  static RecurrentState::Shape StateShape(const ModelConfig& config, int64_t slots);

  // `ids` [T] are the rows' tokens; streams [T, n H]. Takes `state` further.
  void Add(LayerContext& ctx, std::span<const AttentionSequence> sequences,
           std::span<const int32_t> ids, RecurrentState& state, Matrix streams) const;

 private:
  absl::Status LoadTable(WeightLoader& loader, const NgramConfig& config, const NgramNames& names);
  absl::Status LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                               const NgramNames& names);
  // [T, width], in the workspace.
  Matrix Embed(LayerContext& ctx, std::span<const AttentionSequence> sequences,
               std::span<const int32_t> ids, RecurrentState& state) const;
  // The rows of the table for the rows of one sequence, [rows, hashes], whose last tokens `memory`
  // has and takes up.
  void Hash(const AttentionSequence& sequence, std::span<const int32_t> ids, float* memory,
            std::span<int64_t> rows) const;
  // keys and streams [T, n H], normalised; value [T, H]. Returns [T, n H] in the workspace.
  static Matrix GateValues(LayerContext& ctx, ConstMatrix keys, ConstMatrix streams,
                           ConstMatrix value);

  NgramConfig config_;
  int64_t place_ = 0;  // among layers with n-grams: of the state
  NgramHash hash_;
  std::vector<WeightView> table_;  // its parts
  PackedMatrix key_;               // [n H, width]
  PackedMatrix value_;             // [H, width]
  StreamNorm key_norm_, stream_norm_, convolution_norm_;
  std::vector<float> kernel_;  // that convolution_ views
  CausalConvolution convolution_;
};

}  // namespace folkmoot
