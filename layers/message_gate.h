// SPDX-License-Identifier: Apache-2.0
// What layers that run again know of the pass before (LoopConfig; Inkling 2 Loop, Thinking Machines
// 2026; Transformers' modeling_inkling2_loop.py). Each of their parts has a message m, a mixture of
// the sums of that pass, and takes it up in x, what it reads, before its norm:
//
//   d = W_down [x, m], both normalised without weights
//   x = (1 - tanh(W_forget d)) x + tanh(W_gain d) m
#pragma once

#include <vector>

#include "layers/layer_context.h"
#include "layers/layer_names.h"
#include "layers/weight_loader.h"
#include "runtime/model_config.h"

namespace folkmoot {

// Every rank that shares matrices has all of it.
class MessageGate {
 public:
  static absl::StatusOr<MessageGate> Load(ThreadPool& pool, WeightLoader& loader,
                                          const ModelConfig& config, const MessageGateNames& names);
  // message and x [T, H].
  void Apply(LayerContext& ctx, ConstMatrix message, Matrix x) const;

 private:
  float eps_ = 0;
  std::vector<float> ones_;          // [H]
  PackedMatrix down_;                // [R, 2 H]
  std::vector<PackedMatrix> gates_;  // forget and gain, [H, R] each, or both in one
};

// Of one layer.
struct MessageGates {
  static absl::StatusOr<MessageGates> Load(ThreadPool& pool, WeightLoader& loader,
                                           const ModelConfig& config, int64_t layer,
                                           const LayerNames& names);
  MessageGate q, k, v, ffn;
  std::vector<float> queries;  // of their messages in this order, [4 H]
};

}  // namespace folkmoot
