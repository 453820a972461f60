// SPDX-License-Identifier: Apache-2.0
// Reads a decoder's weights and puts them on the device in the kernels' layout.
#pragma once

#include "layers/gpu/gpu_weights.h"
#include "layers/models/family.h"
#include "layers/weight_loader.h"
#include "parallel/expert_placement.h"
#include "runtime/cuda/device.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

// What a rank needs to know for its part.
struct GpuUploadJob {
  const Family& family;
  const ModelConfig& config;
  const ExpertPlacement& placement;
  int rank = 0;
};

// The shapes of all parts, without memory: GpuWeights::bytes says how much they need.
absl::StatusOr<GpuWeights> PlanWeights(const GpuUploadJob& job, WeightLoader& loader);

// Gives the planned weights memory and fills it.
absl::Status UploadWeights(const GpuUploadJob& job, WeightLoader& loader, cuda::Stream& stream,
                           ThreadPool& pool, GpuWeights* weights);

}  // namespace folkmoot
