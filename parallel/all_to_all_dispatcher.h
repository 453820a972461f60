// SPDX-License-Identifier: Apache-2.0
// Tokens travel only to the ranks that hold their experts, each once per rank.
//
// Worked example: 6 tokens a..f on 3 ranks, 6 experts placed contiguously, K = 2.
//
//            holds experts      owns tokens, slot 0 and slot 1
//   rank 0   0 1                a -> 2 3      b -> 0 4
//   rank 1   2 3                c -> 2 5      d -> 5 (rejected)
//   rank 2   4 5                e -> 1 0      f -> 3 0
//
// Dispatch. A message is rows, then choices (row, slot on the receiver, weight) in the order
// (token, slot). Token a goes to rank 1 once although two experts there want it. To itself a rank
// sends choices only; the rows are where they are.
//
//   from \ to   rank 0                    rank 1                   rank 2
//   rank 0      -    | b0:s0              a   | a0:s0 a1:s1        b   | b1:s0
//   rank 1      nothing                   -   | c0:s0              c d | c1:s1 d0:s1
//   rank 2      e f  | e0:s1 e1:s0 f1:s0  f   | f0:s1              nothing
//
// The batches, ordered by (slot, rank of the token, token, slot of the token):
//
//   rank 0   [b e f | e]    offsets 0 3 4      experts 0 | 1
//   rank 1   [a c | a f]    offsets 0 2 4      experts 2 | 3
//   rank 2   [b | c d]      offsets 0 1 3      experts 4 | 5
//
// Combine. One row per choice returns, in the order in which the choices came: rank 1 answers rank
// 0 with [a0 a1]. The owner adds in slot order: out(a) = w0 * a0 + w1 * a1. Were a0 and a1 added on
// rank 1 first, less would travel, but the rounding would depend on which experts share a rank.
#pragma once

#include "parallel/dispatcher.h"

namespace folkmoot {

class AllToAllDispatcher final : public Dispatcher {
 public:
  // Both must outlive the dispatcher; placement.ranks() == comm.size().
  AllToAllDispatcher(Communicator& comm, const ExpertPlacement& placement);

  std::unique_ptr<DispatchHandle> MakeHandle() override;
  absl::Status StartDispatch(ConstMatrix x, const Routing& routing, const WaitLabel& label,
                             DispatchHandle& handle) override;
  absl::StatusOr<ExpertBatch> FinishDispatch(DispatchHandle& handle) override;
  absl::Status StartCombine(ConstMatrix expert_out, DispatchHandle& handle) override;
  absl::Status FinishCombine(DispatchHandle& handle, Matrix out) override;

 private:
  struct Handle;
  static Handle& Cast(DispatchHandle& handle);

  void CountChoices(Handle& flight) const;
  void PackPackets(Handle& flight) const;
  absl::Status ExchangeCounts(Handle& flight) const;
  void PrepareReceive(Handle& flight) const;
  absl::Status CountBatch(Handle& flight) const;
  Matrix FillBatch(Handle& flight) const;

  Communicator& comm_;
  const ExpertPlacement& placement_;
  const uint64_t placement_fingerprint_;
};

}  // namespace folkmoot
