// SPDX-License-Identifier: Apache-2.0
// The queries, keys and values of compressed convolutional attention (CCA; Zyphra 2025, arXiv
// 2510.04476, as ZAYA1 has it), in place of GroupedAttention's projections:
//
//   u = causal convolution of [W_q x, W_k x], each channel by itself
//   q, k = causal convolution of u, each head by itself, + means of W_q x and W_k x
//   v = [W_v x, W_w x of the row before]
//
// What later rows need of this one is small and in a slot of RecurrentState: the last rows that the
// convolutions see, and the delayed half of the values. Keys and values go to pages as always.
//
// The first convolution makes the values, too: a kernel of ones and zeros leaves half of their
// columns where they are and moves the others by one row, and its bias is theirs, since the row
// before the first one is zeros that are projected.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "layers/attention.h"
#include "runtime/ops/causal_convolution.h"
#include "runtime/ops/convolved_heads.h"

namespace folkmoot {

class ConvolvedProjection {
 public:
  // Of the heads that rank `rank` has of `kv_heads`, and the queries that read them.
  static absl::StatusOr<ConvolvedProjection> Load(ThreadPool& pool, WeightLoader& loader,
                                                  const ModelConfig& config, int64_t layer,
                                                  const AttentionNames& names,
                                                  const ColumnSplit& kv_heads, int rank);
  // Of a rank that has so many heads of keys.
  static RecurrentState::LayerShape StateOf(const ModelConfig& config, int64_t kv_heads);

  // x [T, H]; qkv [T, columns of this rank's queries, keys and values]. Takes step.state further.
  void Project(LayerContext& ctx, const AttentionStep& step, ConstMatrix x, Matrix qkv) const;

 private:
  // First row and rows of a tensor.
  using Run = std::pair<int64_t, int64_t>;
  // This rank's rows of the matrices of q, k, and both halves of v.
  struct Runs {
    Run q, k, now, delayed;
  };

  absl::Status LoadMatrices(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                            const AttentionNames& names);
  absl::Status LoadConvolution(WeightLoader& loader, const ModelConfig& config,
                               const AttentionNames& names);
  absl::Status LoadHeadKernels(ThreadPool& pool, WeightLoader& loader, const ModelConfig& config,
                               const AttentionNames& names);
  // This rank's numbers of a vector of all channels of q and k.
  std::vector<float> Mine(const std::vector<float>& all, int64_t taps) const;
  int64_t channels() const { return runs_.q.second + runs_.k.second; }  // of q and k

  Runs runs_;
  int64_t head_dim_ = 0;
  int64_t queries_ = 0;       // that read one head of keys
  int64_t first_key_ = 0;     // channel, of all ranks'
  int64_t all_channels_ = 0;  // of q and k, of all ranks
  int64_t layer_ = 0;         // of the state
  std::vector<PackedMatrix> projections_;
  std::vector<float> bias_;                   // of q and k, zeros for v; empty: none
  std::vector<float> weights_, kernel_bias_;  // that convolution_ and windows_ view
  CausalConvolution convolution_;
  HeadWindows windows_;
  std::vector<PackedMatrix> head_kernels_;  // [head_dim, head_dim * rows] of each head
  std::vector<float> head_bias_;            // [channels]
};

}  // namespace folkmoot
