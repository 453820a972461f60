// SPDX-License-Identifier: Apache-2.0
// Watches layers that compute some rows of a step, and tells another observer of them by the rows
// of the whole step.
#pragma once

#include <cstdint>
#include <span>

#include "layers/layer_context.h"

namespace folkmoot {

class PartObserver : public ForwardObserver {
 public:
  // `whole` hears of `total` rows; row i of what is watched is rows[i] of them. All arguments must
  // outlive the observer.
  PartObserver(ForwardObserver& whole, Workspace& workspace, std::span<const int32_t> rows,
               int64_t total)
      : whole_(whole), workspace_(workspace), rows_(rows), total_(total) {}

  // Rows that are not watched have no choices.
  void OnRouting(int layer, const Routing& routing) override;
  void OnNoRouting(int layer) override { whole_.OnNoRouting(layer); }
  bool WantsLayerOutput() const override { return whole_.WantsLayerOutput(); }
  void OnLayerOutput(int layer, ConstMatrix hidden) override;

 private:
  ForwardObserver& whole_;
  Workspace& workspace_;
  std::span<const int32_t> rows_;
  int64_t total_;
};

}  // namespace folkmoot
