// SPDX-License-Identifier: Apache-2.0
// Moves tokens to the ranks that hold their experts and brings the results home.
//
// The four calls are collective over the expert group: every rank makes them in the same order,
// also with zero tokens. Between a Start and its Finish the caller may compute (the shared expert
// travels that way). All state of one flight is in the DispatchHandle, so several may be in the
// air. Not thread-safe.
//
// Same bits: an expert sees each kept row by itself; results return one row per kept choice and are
// added at the owner in slot order 0..K-1 in float32. So neither the number of ranks nor the
// placement can be seen in the sum. The sum is, in every dispatcher (parallel/combine.h),
//   out = 0; for k = 0..K-1: out = out + weight[k] * row[k]
// with one rounding for the product and one for the sum (no fused multiply-add). Under
// Routing::weight_on_input the expert's row is weight * x, rounded once, and its result is added
// without a weight.
//
// Inside an expert the rows are ordered by (rank of the token, token, slot), whatever the
// dispatcher.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "parallel/communicator.h"
#include "parallel/expert_placement.h"
#include "parallel/routing.h"
#include "runtime/status.h"
#include "runtime/tensor.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Rows for this rank's experts, grouped by local expert slot: rows offsets[s] .. offsets[s + 1]
// belong to slot s.
struct ExpertBatch {
  ConstMatrix rows;                  // [R, H]
  std::span<const int64_t> offsets;  // [local slots + 1]
};

// One flight. Opaque to the caller, made by the dispatcher, reusable after FinishCombine; keeps its
// buffers, so a steady decode loop allocates nothing.
class DispatchHandle {
 public:
  virtual ~DispatchHandle() = default;
};

class Dispatcher {
 public:
  virtual ~Dispatcher() = default;

  virtual std::unique_ptr<DispatchHandle> MakeHandle() = 0;

  // x [T, H] and routing stay valid and unchanged until FinishCombine. H is the same on all ranks,
  // also where T = 0. Waits for the small exchange of counts; the rows are on their way when it
  // returns. An error says which rank is at another step or layer, holds another placement, or
  // does not answer; the dispatcher and its communicator are then dead.
  virtual absl::Status StartDispatch(ConstMatrix x, const Routing& routing, const WaitLabel& label,
                                     DispatchHandle& handle) = 0;
  // The batch is valid until FinishCombine.
  virtual absl::StatusOr<ExpertBatch> FinishDispatch(DispatchHandle& handle) = 0;
  // expert_out [R, H] in the order of the batch; valid and unchanged until FinishCombine.
  virtual absl::Status StartCombine(ConstMatrix expert_out, DispatchHandle& handle) = 0;
  // out [T, H] = for each token the sum over k = 0..K-1 of: weight * expert row (kExpert), weight *
  // x (kIdentity).
  virtual absl::Status FinishCombine(DispatchHandle& handle, Matrix out) = 0;
};

enum class DispatcherKind { kAuto, kLocal, kAllToAll, kAllGather };

// kAuto: local for one rank, all-to-all otherwise. `comm` and `placement` must outlive the
// dispatcher. kLocal with more than one rank is an error.
absl::StatusOr<std::unique_ptr<Dispatcher>> MakeDispatcher(DispatcherKind kind, Communicator& comm,
                                                           const ExpertPlacement& placement);

}  // namespace folkmoot
