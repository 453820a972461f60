// SPDX-License-Identifier: Apache-2.0
// Manifold-constrained hyper-connections (mHC, Xie et al. 2025, arXiv 2512.24880), as DeepSeek-V4
// has them: the residual of a token is n streams of H numbers side by side. Each part of a layer
// has a connection, which makes n + n + n^2 numbers of all streams, normalised together:
//
//   what the part reads   x = sum over i of pre[i] stream[i]
//   what it leaves        stream[k] = post[k] f(x) + sum over j of mix[j, k] stream[j]
//
// pre are sigmoids plus eps, post twice sigmoids; mix is the softmax of its rows plus eps, made
// doubly stochastic by Sinkhorn's iterations. Semantics: Transformers' modeling_deepseek_v4.py,
// which are those of the authors' code.
//
// Hunyuan 4 has independent ones (HyperConfig::independent): 2 n numbers, each stream goes on as it
// is, and post are sigmoids times a factor of the model, plus eps. Semantics: Transformers'
// modeling_hy_v4.py. GLM-5.3-Flash has those of DeepSeek-V4, whose streams become their mean in the
// end (HyperConfig::mean_head). Those of Qwen4-Exp have gates of another kind
// (layers/stream_gate.h).
//
// Mixtures are decided in double, as gates are. Every rank that shares matrices has all of it.
#pragma once

#include <optional>
#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/stream_gate.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"

namespace folkmoot {

// What config.json may ask for.
inline constexpr int64_t kMostStreams = 16;

// Outputs of a small matrix over all streams, divided by the root of their mean square.
class StreamMixer {
 public:
  static absl::StatusOr<StreamMixer> Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const HyperNames& names,
                                          int64_t outputs, int64_t scales);
  // streams [T, n H]. Returns [T, outputs] in the workspace.
  Matrix Apply(LayerContext& ctx, ConstMatrix streams) const;
  // Output `index` as the mixture takes it: times its scale, plus its base.
  double Biased(const float* outputs, int64_t index, int64_t scale) const;

 private:
  float norm_eps_ = 0;
  PackedMatrix weights_;     // [outputs, n H]
  std::vector<float> base_;  // [outputs]
  std::vector<float> scales_;
};

// Of one part of a layer.
class HyperConnection {
 public:
  static absl::StatusOr<HyperConnection> Load(ThreadPool& pool, WeightLoader& loader,
                                              const ModelConfig& config, const HyperNames& names);
  // streams [T, n H]; x [T, H] becomes what the part reads. Returns the mixtures that Leave needs,
  // in the workspace.
  ConstMatrix Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const;
  // `given` [T, H]: what the part gives.
  void Leave(LayerContext& ctx, ConstMatrix mixtures, ConstMatrix given, Matrix streams) const;

 private:
  // Of one token, `mixtures` in the place of its outputs: pre and post, and, where there is one,
  // mix.
  void Gates(const float* outputs, float* mixtures) const;
  void Mix(const float* outputs, float* mixtures) const;

  HyperConfig config_;
  StreamMixer mixer_;
  std::optional<StreamGate> gate_;  // in its place: HyperConfig::gate_rank
};

// Behind the last layer: streams become one.
class HyperHead {
 public:
  static absl::StatusOr<HyperHead> Load(ThreadPool& pool, WeightLoader& loader,
                                        const ModelConfig& config, const HyperNames& names);
  void Read(LayerContext& ctx, ConstMatrix streams, Matrix x) const;

 private:
  HyperConfig config_;
  StreamMixer mixer_;  // not of a mean
  std::optional<StreamGate> gate_;
};

}  // namespace folkmoot
