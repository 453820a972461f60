// SPDX-License-Identifier: Apache-2.0
// The simple way, and the yardstick of the all-to-all dispatcher: every rank sends all its rows and
// choices to all ranks, each picks what is for its experts, and all results go to everybody.
#pragma once

#include "parallel/dispatcher.h"

namespace folkmoot {

class AllGatherDispatcher final : public Dispatcher {
 public:
  // Both must outlive the dispatcher; placement.ranks() == comm.size().
  AllGatherDispatcher(Communicator& comm, const ExpertPlacement& placement);

  std::unique_ptr<DispatchHandle> MakeHandle() override;
  absl::Status StartDispatch(ConstMatrix x, const Routing& routing, const WaitLabel& label,
                             DispatchHandle& handle) override;
  absl::StatusOr<ExpertBatch> FinishDispatch(DispatchHandle& handle) override;
  absl::Status StartCombine(ConstMatrix expert_out, DispatchHandle& handle) override;
  absl::Status FinishCombine(DispatchHandle& handle, Matrix out) override;

 private:
  Communicator& comm_;
  const ExpertPlacement& placement_;
};

}  // namespace folkmoot
