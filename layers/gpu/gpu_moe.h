// SPDX-License-Identifier: Apache-2.0
// The MoE layers of a GPU decoder. A step's routing is found in one of two ways, with the same
// result: on the device, without a wait, or by the gate on the host, which waits for the router's
// logits of each layer. The device knows one gate per step, and not every knob.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "layers/gates/gate.h"
#include "layers/gpu/gpu_step.h"
#include "layers/moe_router.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/routing.h"

namespace folkmoot {

class GpuMoeLayers {
 public:
  // `gate`, `weights` and `placement` must outlive the result.
  static absl::StatusOr<std::unique_ptr<GpuMoeLayers>> Create(const GpuWeights& weights,
                                                              const Gate& gate,
                                                              const ExpertPlacement& placement,
                                                              int rank, cuda::Stream& stream);

  // Must layer inputs be there in float32 too (StepWork::wide)?
  static bool NeedsWideInputs(const GpuWeights& weights, const GateConfig& gate);
  // The smallest tile of any plan.
  static int SmallestTile(const GpuWeights& weights, const cuda::DeviceInfo& device, int64_t rows);

  // Why the model's own gate is always routed on the host; empty: it is not.
  const std::string& why_on_host() const { return why_on_host_; }
  // Can this batch be routed on the device?
  bool OnDevice(const ForwardBatch& batch) const;

  // Layer `layer`, the moe_index-th MoE layer, from work.normed: adds to work.residual and writes
  // the next layer's input, work.normed.
  absl::Status Start(const GpuStep& step, int layer, int moe_index, bool on_device,
                     const float* next_norm);

 private:
  GpuMoeLayers(const GpuWeights& weights, const Gate& gate) : weights_(weights), gate_(gate) {}
  absl::Status UploadGate(cuda::Stream& stream);
  void StartRouter(const GpuStep& step, int layer) const;
  absl::Status StartHostRouted(const GpuStep& step, int layer, int moe_index,
                               const float* next_norm);
  // Rows first .. first + routing.rows of the step.
  void StartExperts(const GpuStep& step, int layer, int first, const cuda::RoutingRef& routing,
                    const float* next_norm) const;

  const GpuWeights& weights_;
  const Gate& gate_;
  std::string why_on_host_;
  cuda::RoutingParams params_;      // of the own gate; `layer` differs
  cuda::Memory vectors_;            // that params_ points to
  cuda::Memory slot_of_expert_;     // [E]
  std::vector<MoeRouter> routers_;  // by MoE layer
};

}  // namespace folkmoot
