// SPDX-License-Identifier: Apache-2.0
// The measurements behind the door of gpu.h.
#pragma once

#include "layers/gpu/moe_bench.h"

namespace folkmoot {

// RunMoeBench, or why there is no GPU.
absl::StatusOr<MoeBenchReport> BenchGpuMoe(const MoeBenchOptions& options);

}  // namespace folkmoot
