// SPDX-License-Identifier: Apache-2.0
// A dispatcher that is wrong on purpose: it adds a token's experts per rank first and the ranks'
// sums after, as systems do that pre-reduce to save traffic. Its rounding depends on placement and
// on the number of ranks. It is the negative control of every test that claims equal bits.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "parallel/dispatcher.h"

namespace folkmoot {

class PerRankSumDispatcher final : public Dispatcher {
 public:
  PerRankSumDispatcher(std::unique_ptr<Dispatcher> inner, int rank,
                       const ExpertPlacement& placement)
      : inner_(std::move(inner)), rank_(rank), placement_(placement) {}

  std::unique_ptr<DispatchHandle> MakeHandle() override {
    auto handle = std::make_unique<Handle>();
    for (int q = 0; q < placement_.ranks(); ++q) handle->flights.push_back(inner_->MakeHandle());
    return handle;
  }

  // One flight of the inner dispatcher for each rank, with the choices for that rank's experts.
  absl::Status StartDispatch(ConstMatrix x, const Routing& routing, const WaitLabel& label,
                             DispatchHandle& handle) override {
    Handle& flight = static_cast<Handle&>(handle);
    const size_t choices = static_cast<size_t>(routing.tokens * routing.top_k);
    flight.actions.assign(flight.flights.size(), std::vector<SlotAction>(choices));
    for (size_t q = 0; q < flight.flights.size(); ++q) {
      Routing part = routing;
      for (size_t c = 0; c < choices; ++c) {
        const bool expert_here = routing.action[c] == SlotAction::kExpert &&
                                 placement_.rank_of(routing.expert[c]) == static_cast<int>(q);
        const bool identity = routing.action[c] == SlotAction::kIdentity && q == 0;
        flight.actions[q][c] = expert_here || identity ? routing.action[c] : SlotAction::kNone;
      }
      part.action = flight.actions[q];
      FM_RETURN_IF_ERROR(inner_->StartDispatch(x, part, label, *flight.flights[q]));
    }
    return absl::OkStatus();
  }

  // Only the flight for this rank brings rows to it.
  absl::StatusOr<ExpertBatch> FinishDispatch(DispatchHandle& handle) override {
    Handle& flight = static_cast<Handle&>(handle);
    ExpertBatch mine;
    for (size_t q = 0; q < flight.flights.size(); ++q) {
      FM_ASSIGN_OR_RETURN(const ExpertBatch batch, inner_->FinishDispatch(*flight.flights[q]));
      if (static_cast<int>(q) == rank_) mine = batch;
    }
    return mine;
  }

  absl::Status StartCombine(ConstMatrix expert_out, DispatchHandle& handle) override {
    Handle& flight = static_cast<Handle&>(handle);
    for (size_t q = 0; q < flight.flights.size(); ++q) {
      const ConstMatrix out =
          static_cast<int>(q) == rank_ ? expert_out : ConstMatrix(nullptr, 0, expert_out.cols);
      FM_RETURN_IF_ERROR(inner_->StartCombine(out, *flight.flights[q]));
    }
    return absl::OkStatus();
  }

  absl::Status FinishCombine(DispatchHandle& handle, Matrix out) override {
    Handle& flight = static_cast<Handle&>(handle);
    std::vector<float> sum(static_cast<size_t>(out.rows * out.cols), 0.0f);
    for (const auto& part : flight.flights) {
      FM_RETURN_IF_ERROR(inner_->FinishCombine(*part, out));
      for (int64_t t = 0; t < out.rows; ++t) {
        for (int64_t h = 0; h < out.cols; ++h) {
          sum[static_cast<size_t>(t * out.cols + h)] += out.Row(t)[h];
        }
      }
    }
    for (int64_t t = 0; t < out.rows; ++t) {
      for (int64_t h = 0; h < out.cols; ++h) {
        out.Row(t)[h] = sum[static_cast<size_t>(t * out.cols + h)];
      }
    }
    return absl::OkStatus();
  }

 private:
  struct Handle final : DispatchHandle {
    std::vector<std::unique_ptr<DispatchHandle>> flights;
    std::vector<std::vector<SlotAction>> actions;
  };

  const std::unique_ptr<Dispatcher> inner_;
  const int rank_;
  const ExpertPlacement& placement_;
};

}  // namespace folkmoot
