// SPDX-License-Identifier: Apache-2.0
// The MoE layers of a GPU decoder. A step's routing is found in one of two ways, with the same
// result from the same logits: on the device, without a wait, or by the gate on the host, which
// waits for the router's logits of each layer. The device knows one gate per step, and not every
// knob (layers/gpu/device_gate.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "layers/gates/gate.h"
#include "layers/gpu/device_gate.h"
#include "layers/gpu/gpu_step.h"
#include "layers/models/model.h"
#include "layers/moe_router.h"
#include "parallel/communicator.h"
#include "parallel/device_dispatcher.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/expert_ffn.h"
#include "runtime/cuda/routing.h"

namespace folkmoot {

class NcclCommunicator;

class GpuMoeLayers {
 public:
  // Collective over `ranks`. All arguments must outlive the result.
  static absl::StatusOr<std::unique_ptr<GpuMoeLayers>> Create(
      const GpuWeights& weights, const StepSizes& sizes, const Gate& gate,
      const ExpertPlacement& placement, Communicator& ranks, const GpuOptions& options,
      cuda::Stream& stream);
  ~GpuMoeLayers();
  GpuMoeLayers(const GpuMoeLayers&) = delete;
  GpuMoeLayers& operator=(const GpuMoeLayers&) = delete;

  // The smallest tile of any plan.
  static int SmallestTile(const GpuWeights& weights, const cuda::DeviceInfo& device, int64_t rows);

  // Why the model's own gate is routed on the host; empty: it is not.
  const std::string& why_on_host() const { return why_on_host_; }
  // Can this batch be routed on the device?
  bool OnDevice(const ForwardBatch& batch) const;

  // Layer `layer`, the moe_index-th MoE layer, from the attention's output work.delta: adds both to
  // work.residual and writes the next layer's input, work.normed.
  absl::Status Start(const GpuStep& step, int layer, int moe_index, const float* next_norm);

  // Waits for all that was started, in place of Stream::Synchronize.
  absl::Status Wait(const GpuStep& step, int layer = -1);

 private:
  GpuMoeLayers(const GpuWeights& weights, const Gate& gate, const ExpertPlacement& placement,
               Communicator& ranks, cuda::Stream& stream);
  absl::Status Connect(const GpuOptions& options);
  absl::StatusOr<DeviceDispatcher*> DispatcherFor(int k);

  // Norm, router logits and, for steps that are routed on the device, the rest up to grouped
  // choices.
  void StartRouting(const GpuStep& step, int layer, int moe_index, const cuda::RoutingRef& routing);
  void StartRouterAlone(const GpuStep& step, int layer);
  cuda::RoutingInput InputOf(const GpuStep& step, int moe_index) const;
  void StartShared(const GpuStep& step, int layer) const;
  absl::Status StartHostRouted(const GpuStep& step, int layer, int moe_index,
                               const float* next_norm);
  // What is the same for all rows of a layer, and which of its rows are meant.
  struct Part {
    int layer = 0;
    int first = 0;
    cuda::RoutingRef routing;
    bool grouped = false;  // already, by RouteStep
    bool combine = true;   // into the residual stream
    const float* next_norm = nullptr;
  };
  absl::Status StartExperts(const GpuStep& step, const Part& part);
  absl::StatusOr<const float*> StartLocal(const GpuStep& step, const Part& part);
  absl::StatusOr<const float*> StartDispatched(const GpuStep& step, const Part& part);
  cuda::GroupedRows Groups(const GpuStep& step, const cuda::ExpertFfnPlan& plan, int choices) const;
  cuda::ExpertFfnPlan PlanOf(const GpuStep& step, int layer, int rows, int k) const;
  const GpuMoe& moe(int layer) const { return *weights_.layers[static_cast<size_t>(layer)].moe; }

  const GpuWeights& weights_;
  const Gate& gate_;
  const ExpertPlacement& placement_;
  Communicator& ranks_;
  cuda::Stream& stream_;
  std::string why_on_host_;
  bool fused_ = false;  // norm, router and routing of one rank in one kernel
  int fixed_rows_ = 0;
  DeviceGate device_gate_;
  cuda::Memory slot_of_expert_;     // [E]
  cuda::Memory arrivals_;           // of RouteStep
  std::vector<MoeRouter> routers_;  // by MoE layer
  std::unique_ptr<NcclCommunicator> nccl_;
  std::map<int, std::unique_ptr<DeviceDispatcher>> dispatchers_;  // by k; empty: one rank
};

}  // namespace folkmoot
