// SPDX-License-Identifier: Apache-2.0
// From CUDA's error codes to absl::Status. For implementations.
#pragma once

#include <string_view>

#include "runtime/cuda/platform.h"
#include "runtime/status.h"

namespace folkmoot::cuda {

// "<doing>: <CUDA's text> (<its name>)"; OK for cudaSuccess.
absl::Status CudaStatus(cudaError_t error, std::string_view doing);

// Why there is no GPU to be used, and what to do about it: Unavailable. Versions as in device.h;
// `error` is what counting the GPUs returned.
absl::Status NoDevices(cudaError_t error, int driver_version, int runtime_version);

}  // namespace folkmoot::cuda

#define FM_CUDA_RETURN(expr, doing) FM_RETURN_IF_ERROR(::folkmoot::cuda::CudaStatus(expr, doing))
