// SPDX-License-Identifier: Apache-2.0
// What every Forward receives besides its tensors.
#pragma once

#include <cstdint>

#include "parallel/communicator.h"
#include "parallel/routing.h"
#include "runtime/tensor.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Watches a forward pass: receipts, routing traces, `folkmoot verify`. Called on the engine thread;
// the arguments are valid during the call only.
class ForwardObserver {
 public:
  virtual ~ForwardObserver() = default;
  // The final routing of one MoE layer for this rank's tokens.
  virtual void OnRouting(int layer, const Routing& routing) = 0;
  // A MoE layer that computes nothing in this step on any rank: of an encoder without sources.
  virtual void OnNoRouting(int layer) = 0;
  // Is OnLayerOutput wanted? It costs a model on a GPU a wait per layer.
  virtual bool WantsLayerOutput() const = 0;
  // The residual stream [T, H] after a layer.
  virtual void OnLayerOutput(int layer, ConstMatrix hidden) = 0;
};

struct LayerContext {
  ThreadPool& pool;
  Workspace& workspace;                 // reset by the model at the start of a step
  Communicator& experts;                // the ranks among which experts are placed
  int64_t step = -1;                    // for the names of waits
  ForwardObserver* observer = nullptr;  // may be null
};

}  // namespace folkmoot
