// SPDX-License-Identifier: Apache-2.0
// One rank holds every expert: dispatch groups rows by expert, combine adds them up. Where a rank
// computes only some columns of the experts' results, from first_column on, it combines those:
// expert_out and out then have these columns only.
#pragma once

#include "parallel/dispatcher.h"

namespace folkmoot {

class LocalDispatcher final : public Dispatcher {
 public:
  // placement.ranks() == 1; it must outlive the dispatcher.
  explicit LocalDispatcher(const ExpertPlacement& placement, int64_t first_column = 0);

  std::unique_ptr<DispatchHandle> MakeHandle() override;
  absl::Status StartDispatch(ConstMatrix x, const Routing& routing, const WaitLabel& label,
                             DispatchHandle& handle) override;
  absl::StatusOr<ExpertBatch> FinishDispatch(DispatchHandle& handle) override;
  absl::Status StartCombine(ConstMatrix expert_out, DispatchHandle& handle) override;
  absl::Status FinishCombine(DispatchHandle& handle, Matrix out) override;

 private:
  const ExpertPlacement& placement_;
  const int64_t first_column_;
};

}  // namespace folkmoot
