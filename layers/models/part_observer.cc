// SPDX-License-Identifier: Apache-2.0
#include "layers/models/part_observer.h"

#include <algorithm>

namespace folkmoot {

void PartObserver::OnRouting(int layer, const Routing& routing) {
  const Workspace::Position mark = workspace_.Mark();
  Routing all = Routing::Allocate(workspace_, total_, routing.top_k);
  std::fill(all.expert.begin(), all.expert.end(), -1);
  std::fill(all.state.begin(), all.state.end(), SlotState::kRejected);
  std::fill(all.action.begin(), all.action.end(), SlotAction::kNone);
  std::fill(all.weight.begin(), all.weight.end(), 0.0f);
  std::fill(all.place.begin(), all.place.end(), -1);
  if (!routing.bad.empty()) {
    all.bad = workspace_.Get<uint8_t>(total_);
    std::fill(all.bad.begin(), all.bad.end(), 0);
  }
  const auto width = static_cast<std::ptrdiff_t>(routing.top_k);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto move = [&](auto from, auto to, std::ptrdiff_t count) {
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(i) * count, count,
                  to.begin() + static_cast<std::ptrdiff_t>(rows_[i]) * count);
    };
    move(routing.expert, all.expert, width);
    move(routing.weight, all.weight, width);
    move(routing.state, all.state, width);
    move(routing.action, all.action, width);
    move(routing.place, all.place, width);
    if (!routing.bad.empty()) move(routing.bad, all.bad, 1);
  }
  whole_.OnRouting(layer, all);
  workspace_.Release(mark);
}

void PartObserver::OnLayerOutput(int layer, ConstMatrix hidden) {
  const Workspace::Position mark = workspace_.Mark();
  const Matrix all = workspace_.GetMatrix(total_, hidden.cols);
  std::fill_n(all.data, all.rows * all.stride, 0.0f);
  for (size_t i = 0; i < rows_.size(); ++i) {
    std::copy_n(hidden.Row(static_cast<int64_t>(i)), hidden.cols, all.Row(rows_[i]));
  }
  whole_.OnLayerOutput(layer, all);
  workspace_.Release(mark);
}

}  // namespace folkmoot
