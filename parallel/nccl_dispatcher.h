// SPDX-License-Identifier: Apache-2.0
// The device dispatcher of several ranks, over NCCL.
//
// Fixed sizes (decode). Each rank has T rows, the same T on all. One all-gather brings x and the
// choices of all ranks to everybody, [rank][T][H]: with T slots for each pair of ranks that is what
// fixed messages would carry anyway, and no row has to be packed. The experts write each result to
// the place of its choice, [rank][T * K][H], which is the send buffer of an all-to-all: no count
// exists, nothing waits. Three kernels of ours in each layer: choices out, choices in, results to
// their place. Every block carries a header with layer and the number of the exchange, which the
// device counts and compares; Wait reports a rank that is elsewhere.
//
//   worked example: 2 ranks, T = 2, K = 2; experts 0 1 on rank 0, 2 3 on rank 1
//     rank 0 owns a -> 0 2, b -> 3 1        rank 1 owns c -> 2 3, d -> 0 (rejected)
//     both hold x = [a b | c d], choices = [0 2, 3 1 | 2 3, 0 -]
//     rank 0 computes a0 . . b1 | . . d0 .  and sends the right half to rank 1
//     rank 1 computes . a1 b0 . | c0 c1 . . and sends the left half to rank 0
//     rank 0 takes a0 and b1 from its own half, a1 and b0 from rank 1's
//
// Exact sizes (prefill). Each rank lists, for each other, the rows that have an expert there, each
// once, and their choices. Headers with the counts are exchanged and read by the host; then rows
// and choices travel in one group of sends of exact length. The receiver lays out one row per
// choice in the order (rank, row, slot), so the results return without being packed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/device_buffer.h"
#include "parallel/device_dispatcher.h"
#include "parallel/expert_placement.h"
#include "parallel/nccl_communicator.h"
#include "runtime/cuda/exchange.h"

namespace folkmoot {

class NcclDispatcher final : public DeviceDispatcher {
 public:
  // Collective. comm must outlive the dispatcher. placement.ranks() == comm.size().
  static absl::StatusOr<std::unique_ptr<NcclDispatcher>> Create(NcclCommunicator& comm,
                                                                const ExpertPlacement& placement,
                                                                const DeviceDispatchLimits& limits,
                                                                cuda::Stream& stream);

  absl::StatusOr<DeviceBatch> Dispatch(cuda::Stream& stream,
                                       const DeviceDispatchInput& input) override;
  absl::StatusOr<const float*> Return(cuda::Stream& stream) override;
  absl::Status Wait(cuda::Stream& stream, const WaitLabel& label) override;
  int64_t MaxChoices(DispatchSizes sizes, int rows) const override;

 private:
  // What a rank has received, or will.
  struct Received {
    DeviceBuffer x{"rows of other ranks"};
    DeviceBuffer expert{"choices of other ranks"};
    DeviceBuffer weight{"choices of other ranks"};
    DeviceBuffer action{"choices of other ranks"};
    DeviceBuffer out{"results for other ranks"};
    DeviceBuffer returned{"results from other ranks"};
    DeviceBuffer placed{"results of the experts"};

    // Room for `rows` rows of `k` choices, `returned_rows` results from others and `own` choices.
    struct Sizes {
      int64_t rows;
      int64_t choices;
      int64_t returned;
      int64_t own;
    };
    bool Fits(const Sizes& sizes, int64_t row_bytes, int64_t hidden) const;
    absl::Status Grow(const Sizes& sizes, int64_t row_bytes, int64_t hidden);
    cuda::RoutingRef Routing(int64_t rows, int k) const;
  };
  // Buffers of exact sizes beside those.
  struct Lists {
    DeviceBuffer rows{"lists of rows for other ranks"};
    DeviceBuffer choices{"lists of choices for other ranks"};
    DeviceBuffer index{"lists of choices for other ranks"};
    DeviceBuffer packed{"rows for other ranks"};
    DeviceBuffer rows_in{"rows of other ranks"};
    DeviceBuffer choices_in{"choices of other ranks"};
  };

  NcclDispatcher(NcclCommunicator& comm, const ExpertPlacement& placement,
                 const DeviceDispatchLimits& limits);
  absl::Status SetUp(cuda::Stream& stream);
  cuda::ExchangeHeader Header(const DeviceDispatchInput& input) const;

  absl::StatusOr<DeviceBatch> DispatchFixed(cuda::Stream& stream);
  absl::StatusOr<DeviceBatch> DispatchExact(cuda::Stream& stream);
  absl::Status ExchangeCounts(cuda::Stream& stream);
  absl::Status FitExact(cuda::Stream& stream);
  absl::Status ExchangeRows(cuda::Stream& stream);
  absl::Status ReturnExact(cuda::Stream& stream);
  cuda::ExactLists ListsRef() const;
  absl::Status GrowIdle(cuda::Stream& stream, DeviceBuffer& buffer, int64_t bytes);

  WaitLabel Whereabouts(const WaitLabel& label) const;
  absl::Status Judge(const WaitLabel& label) const;

  NcclCommunicator& comm_;
  const ExpertPlacement placement_;
  const DeviceDispatchLimits limits_;
  const int64_t row_bytes_;

  cuda::Memory part_of_;   // int32 [E]
  cuda::Memory round_;     // int64 [1]
  cuda::Memory verdict_;   // ExchangeVerdict
  cuda::Memory progress_;  // pinned ExchangeProgress
  cuda::Memory read_;      // pinned ExchangeVerdict, as read by the host
  cuda::Memory headers_;   // ExchangeHeader [2 R]: ours for each rank, then theirs
  cuda::Memory counts_;    // the same, pinned
  cuda::PartTable table_;

  Received fixed_;
  DeviceBuffer block_{"choices for other ranks"};
  DeviceBuffer blocks_{"choices of other ranks"};
  Received exact_;
  Lists lists_;

  DeviceDispatchInput input_;  // of the flight
  std::vector<DeviceRange> send_;
  std::vector<DeviceRange> recv_;
};

}  // namespace folkmoot
