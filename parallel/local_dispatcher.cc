// SPDX-License-Identifier: Apache-2.0
#include "parallel/local_dispatcher.h"

#include <vector>

#include "parallel/combine.h"
#include "parallel/grow_buffer.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

struct LocalHandle final : DispatchHandle {
  ConstMatrix x;
  Routing routing;
  ConstMatrix expert_out;
  GrowBuffer rows;
  std::vector<int64_t> offsets;    // [experts + 1]
  std::vector<int64_t> next;       // [experts], scratch: the expert's next free row
  std::vector<int64_t> row_of;     // [T * K], the choice's row in the batch
  std::vector<const float*> outs;  // [T * K], scratch of the combine
};

LocalHandle& Cast(DispatchHandle& handle) { return static_cast<LocalHandle&>(handle); }

}  // namespace

LocalDispatcher::LocalDispatcher(const ExpertPlacement& placement, int64_t first_column)
    : placement_(placement), first_column_(first_column) {
  FM_CHECK(placement.ranks() == 1);
}

std::unique_ptr<DispatchHandle> LocalDispatcher::MakeHandle() {
  return std::make_unique<LocalHandle>();
}

absl::Status LocalDispatcher::StartDispatch(ConstMatrix x, const Routing& routing,
                                            const WaitLabel& /*label*/, DispatchHandle& handle) {
  CheckRouting(x, routing, placement_.experts());
  LocalHandle& flight = Cast(handle);
  flight.x = x;
  flight.routing = routing;
  return absl::OkStatus();
}

absl::StatusOr<ExpertBatch> LocalDispatcher::FinishDispatch(DispatchHandle& handle) {
  LocalHandle& flight = Cast(handle);
  const Routing& routing = flight.routing;
  const size_t experts = static_cast<size_t>(placement_.experts());
  const size_t choices = static_cast<size_t>(routing.tokens * routing.top_k);
  const int64_t hidden = flight.x.cols;
  flight.offsets.assign(experts + 1, 0);
  for (size_t choice = 0; choice < choices; ++choice) {
    if (routing.action[choice] != SlotAction::kExpert) continue;
    ++flight.offsets[static_cast<size_t>(routing.expert[choice]) + 1];
  }
  for (size_t e = 0; e < experts; ++e) flight.offsets[e + 1] += flight.offsets[e];

  flight.next.assign(flight.offsets.begin(), flight.offsets.end() - 1);
  flight.row_of.assign(choices, -1);
  const int64_t total = flight.offsets.back();
  const Matrix rows(flight.rows.GetFloats(total * hidden), total, hidden);
  for (size_t choice = 0; choice < choices; ++choice) {
    if (routing.action[choice] != SlotAction::kExpert) continue;
    const int64_t row = flight.next[static_cast<size_t>(routing.expert[choice])]++;
    flight.row_of[choice] = row;
    CopyExpertRow(flight.x.Row(static_cast<int64_t>(choice) / routing.top_k), hidden,
                  routing.weight_on_input, routing.weight[choice], rows.Row(row));
  }
  return ExpertBatch{rows, flight.offsets};
}

absl::Status LocalDispatcher::StartCombine(ConstMatrix expert_out, DispatchHandle& handle) {
  LocalHandle& flight = Cast(handle);
  FM_CHECK(expert_out.rows == flight.offsets.back());
  flight.expert_out = expert_out;
  return absl::OkStatus();
}

absl::Status LocalDispatcher::FinishCombine(DispatchHandle& handle, Matrix out) {
  LocalHandle& flight = Cast(handle);
  flight.outs.assign(flight.row_of.size(), nullptr);
  for (size_t choice = 0; choice < flight.outs.size(); ++choice) {
    const int64_t row = flight.row_of[choice];
    if (row >= 0) flight.outs[choice] = flight.expert_out.Row(row);
  }
  CombineRows(flight.x.Columns(first_column_, flight.expert_out.cols), flight.routing, flight.outs,
              out);
  return absl::OkStatus();
}

}  // namespace folkmoot
