// SPDX-License-Identifier: Apache-2.0
// The dispatcher of a rank that computes on a GPU: rows of a MoE layer go to the ranks that hold
// their experts, and one row per kept choice comes back. The same promise as parallel/dispatcher.h:
// inside an expert the rows are ordered by (rank of the token, token, slot), and the owner adds in
// slot order (cuda::Combine), so neither the number of ranks nor the placement shows in a result.
//
// How a layer uses it, everything on one stream:
//
//   FM_ASSIGN_OR_RETURN(const DeviceBatch batch, dispatcher.Dispatch(stream, input));
//   GroupChoices(stream, batch.routing, slot_of_expert, groups);
//   ExpertFfn(stream, ..., groups, batch.routing.k, batch.x, row_weight, hidden, batch.out);
//   FM_ASSIGN_OR_RETURN(const float* expert_rows, dispatcher.Return(stream));
//   CombineAddRmsNorm(stream, {.routing = input.routing, .expert_rows = expert_rows, ...});
//
// and once per step, in place of Stream::Synchronize, `dispatcher.Wait(stream, label)`.
//
// The calls are collective: every rank makes them in the same order, with the same sizes mode, also
// with no valid row. They start work and do not wait for it, but for kExact, which waits for the
// counts. One flight at a time: Dispatch, then Return. One thread per rank.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"
#include "runtime/status.h"

namespace folkmoot {

// How much travels.
enum class DispatchSizes : uint8_t {
  // As much as the rows of the bucket could need: every rank sees all rows of all ranks, and
  // results come back at the place of their choice. Nothing depends on the routing, so it can be
  // recorded in a graph and never waits. All ranks must come with the same number of rows.
  // Traffic out of a rank, with R ranks and T rows: (R - 1) T (H x element + K x 8 + K x H x 4).
  kFixed,
  // What the choices need, after an exchange of counts: one wait of the host per layer. Ranks may
  // have different numbers of rows. Traffic: each row once to each rank that holds one of its
  // experts, 4 H bytes back for each kept choice.
  kExact,
};

struct DeviceDispatchLimits {
  int64_t hidden = 0;  // H, a multiple of 8
  int k = 0;           // K of Routing
  DType dtype = DType::kBF16;
  int fixed_rows = 0;  // most rows of a rank under kFixed (the largest recorded bucket)
};

struct DeviceDispatchInput {
  cuda::MatrixRef x;         // [T, H] of DeviceDispatchLimits::dtype, without gaps
  cuda::RoutingRef routing;  // [T, K]; expert, weight and action are read
  DispatchSizes sizes = DispatchSizes::kFixed;
  WaitLabel label;  // layer, and under kExact step; its phase is not used
};

// What this rank's experts are to work on. Memory of the dispatcher, valid until Return.
struct DeviceBatch {
  cuda::MatrixRef x;  // [rows, H]
  // [rows, k]: only expert, weight and action are there. It may hold choices for experts of other
  // ranks, which GroupChoices leaves out. k is K or, under kExact with several ranks, 1.
  cuda::RoutingRef routing;
  float* out = nullptr;  // [rows * k, H] for the results, by choice: row * k + slot
};

class DeviceDispatcher {
 public:
  virtual ~DeviceDispatcher() = default;

  // Input stays valid and unchanged until Return has run on the stream. Under kExact an error says
  // which rank is at another step or layer, holds another placement, or does not answer.
  virtual absl::StatusOr<DeviceBatch> Dispatch(cuda::Stream& stream,
                                               const DeviceDispatchInput& input) = 0;
  // After DeviceBatch::out was written on the stream. Results [T * K, H] float32 by choice of the
  // input, only the rows of action 1 are written; memory of the dispatcher, valid until the next
  // Dispatch.
  virtual absl::StatusOr<const float*> Return(cuda::Stream& stream) = 0;

  // Waits for everything on the stream, until the communicator's deadline, and finds what went
  // wrong on the way: an error of the device, of a peer, or ranks that disagreed under kFixed.
  // After an error the dispatcher and its communicator are dead.
  virtual absl::Status Wait(cuda::Stream& stream, const WaitLabel& label) = 0;

  // The most rows * k that a batch of T rows per rank can have, for GroupedRows::max_choices and
  // the scratch of ExpertFfn. Under kExact the batch itself says it: this is the bound.
  virtual int64_t MaxChoices(DispatchSizes sizes, int rows) const = 0;
};

// One rank: nothing moves, x and routing are the caller's.
absl::StatusOr<std::unique_ptr<DeviceDispatcher>> MakeLocalDeviceDispatcher(
    const DeviceDispatchLimits& limits);

}  // namespace folkmoot
