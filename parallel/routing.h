// SPDX-License-Identifier: Apache-2.0
// The decision of a gate for the tokens of one rank in one MoE layer. Final before anything moves.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/workspace.h"

namespace folkmoot {

// What became of a choice; reported to users by these names.
enum class SlotState : uint8_t { kKept, kRejected, kOverflow };

// What the layer does for a choice. Kept choices of a real expert are dispatched; kept choices of a
// zero expert (LongCat-Flash) and overflowed choices under `passthrough` add weight * x; the
// others, those of zero experts that give nothing (ZAYA1) among them, add nothing.
enum class SlotAction : uint8_t { kNone, kExpert, kIdentity };

// Arrays [T, K], slot 0 = best. Memory belongs to the step's workspace.
struct Routing {
  int64_t tokens = 0;
  int top_k = 0;
  bool weight_on_input = false;  // Llama 4: the expert sees weight * x and its output counts once
  std::span<int32_t> expert;     // logical expert id
  std::span<float> weight;       // scale included
  std::span<SlotState> state;
  std::span<SlotAction> action;
  std::span<int32_t> place;  // position in the expert's buffer; -1 when it took none
  // [T] 1: the router's logits of this token are not finite, and all its slots are empty. May be
  // empty: then there is none.
  std::span<uint8_t> bad;
  // [S, T] for gates with S shared experts that have weights; scale included. Else empty.
  std::span<float> shared_weight;

  // What shared expert `index` weighs for each token; empty: nothing is multiplied.
  std::span<float> SharedWeights(int64_t index) const {
    if (shared_weight.empty()) return {};
    return shared_weight.subspan(static_cast<size_t>(index * tokens), static_cast<size_t>(tokens));
  }

  static Routing Allocate(Workspace& workspace, int64_t tokens, int top_k, int shared = 0) {
    Routing routing;
    routing.tokens = tokens;
    routing.top_k = top_k;
    routing.expert = workspace.Get<int32_t>(tokens * top_k);
    routing.weight = workspace.Get<float>(tokens * top_k);
    routing.state = workspace.Get<SlotState>(tokens * top_k);
    routing.action = workspace.Get<SlotAction>(tokens * top_k);
    routing.place = workspace.Get<int32_t>(tokens * top_k);
    routing.shared_weight = workspace.Get<float>(tokens * shared);
    return routing;
  }
};

}  // namespace folkmoot
