// SPDX-License-Identifier: Apache-2.0
// The measurements behind the door of gpu.h.
#pragma once

#include "layers/gpu/moe_bench.h"

namespace folkmoot {

// RunMoeBench, or why there is no GPU.
absl::StatusOr<MoeBenchReport> BenchGpuMoe(const MoeBenchOptions& options);

// What this GPU reaches now, by the thread that uses it.
struct GpuRates {
  double read_bytes_per_second = 0;
  double flops_per_second = 0;  // of its matrix units in bfloat16
};
absl::StatusOr<GpuRates> MeasureGpu();

}  // namespace folkmoot
