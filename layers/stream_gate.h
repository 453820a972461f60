// SPDX-License-Identifier: Apache-2.0
// The gated residual of Qwen4-Exp (Alibaba 2026): hyper-connections (layers/hyper_connection.h)
// whose gates are vectors. Of n streams of H numbers, each normalised by itself to y,
//
//   what a part reads   x = mean over i of sigmoid(W_up silu(W_down y / n))[i] * y[i]
//   what it leaves      stream[k] += 2 sigmoid(W_inject y / n)[k] f(x)
//
// where W_down makes HyperConfig::gate_rank numbers of all streams. Behind the last layer x is what
// the head reads, and nothing is left. Semantics: Transformers' modeling_qwen4_exp.py.
//
// Every rank that shares matrices has all of it.
#pragma once

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/norm.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"

namespace folkmoot {

class StreamGate {
 public:
  // Without `injects` nothing is left: there is no W_inject.
  static absl::StatusOr<StreamGate> Load(ThreadPool& pool, WeightLoader& loader,
                                         const ModelConfig& config, const HyperNames& names,
                                         bool injects);
  // streams [T, n H]; x [T, H] becomes what the part reads. Returns the weights [T, n] by which
  // streams take up what it leaves, in the workspace; [T, 0] where it leaves nothing.
  ConstMatrix Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const;

 private:
  StreamNorm norm_;        // y / n
  GatedFfnWeights gates_;  // [rank, n H] and [n H, rank]
  PackedMatrix inject_;    // [n, n H] or empty
};

}  // namespace folkmoot
