// SPDX-License-Identifier: Apache-2.0
// The routing of one MoE layer on the host: from the router's logits of a batch to its choices,
// also where sequences of one batch have different gates.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/forward_batch.h"
#include "layers/gates/gate.h"
#include "layers/layer_context.h"

namespace folkmoot {

class MoeRouter {
 public:
  MoeRouter() = default;
  // `gate` decides where a batch names no other; it must outlive the router. moe_index counts the
  // MoE layers of the model from 0. top_k: GateInput::top_k of every gate.
  MoeRouter(int layer, int moe_index, const Gate& gate, int64_t top_k = 0)
      : layer_(layer), moe_index_(moe_index), top_k_(top_k), gate_(&gate) {}

  void set_place(int layer, int moe_index) {
    layer_ = layer;
    moe_index_ = moe_index;
  }

  // Vectors [E] of this layer's weights or none, for every gate; they must outlive the router.
  void set_biases(std::span<const float> router, std::span<const float> selection) {
    router_bias_ = router;
    selection_bias_ = selection;
  }

  // GateInput::token_table of this layer, which must outlive the router.
  void set_token_table(std::span<const int32_t> table, int64_t experts) {
    token_table_ = table;
    token_experts_ = experts;
  }

  // logits [T, E and shared sinks]. Collective over ctx.experts where a gate is.
  absl::StatusOr<Routing> Route(LayerContext& ctx, const ForwardBatch& batch, ConstMatrix logits);

 private:
  // When sequences have different gates: each gate routes its own, then all go into one Routing.
  absl::StatusOr<Routing> RouteMixed(LayerContext& ctx, const ForwardBatch& batch,
                                     ConstMatrix logits);
  // The rows of sequences_.
  GateInput InputOf(const LayerContext& ctx, ConstMatrix logits, std::span<const uint64_t> streams,
                    std::span<const int32_t> token_ids) const;
  GateSequence SequenceOf(const BatchSequence& sequence, const Gate& gate) const;

  int layer_ = 0;
  int moe_index_ = 0;
  int64_t top_k_ = 0;
  const Gate* gate_ = nullptr;
  std::span<const float> router_bias_, selection_bias_;
  std::span<const int32_t> token_table_;
  int64_t token_experts_ = 0;
  std::vector<GateSequence> sequences_;
};

}  // namespace folkmoot
