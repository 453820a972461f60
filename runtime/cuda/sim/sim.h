// SPDX-License-Identifier: Apache-2.0
// CUDA on the CPU: the names that <cuda_runtime.h>, <cuda_bf16.h> and <cuda_fp16.h> give, as far as
// runtime/cuda and parallel/nccl_* use them. Included by runtime/cuda/platform.h only.
#pragma once

#include "runtime/cuda/sim/arithmetic.h"
#include "runtime/cuda/sim/atomics.h"
#include "runtime/cuda/sim/intrinsics.h"
#include "runtime/cuda/sim/runtime_api.h"
#include "runtime/cuda/sim/threads.h"
#include "runtime/cuda/sim/types.h"
