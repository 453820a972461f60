// SPDX-License-Identifier: Apache-2.0
// What this GPU can do at best, measured: the floors that benchmarks compare with.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// Bytes per second at which all multiprocessors together read device memory, each byte once.
// `bytes` should be several times the L2 cache (1 GiB is). Best of `repeats`.
absl::StatusOr<double> ProbeReadBandwidth(Stream& stream, int64_t bytes, int repeats);

// Floating-point operations per second (a multiply-add is two) of the tensor cores, fed from
// registers, in kBF16 or kF16 with sums in float32. Best of `repeats`. `steps`: products of each
// warp, in the thousands on a GPU.
//   kWarp:      mma.m16n8k16, sm_80 and newer
//   kWarpgroup: wgmma m64n256k16 from shared memory, sm_90a; FailedPrecondition elsewhere
enum class MatrixUnit : uint8_t { kWarp, kWarpgroup };
absl::StatusOr<double> ProbeMatrixRate(Stream& stream, MatrixUnit unit, DType dtype, int steps,
                                       int repeats);

// Seconds between the starts of dependent empty kernels inside a graph of `kernels` of them.
absl::StatusOr<double> ProbeKernelGap(Stream& stream, int kernels, int repeats);

}  // namespace folkmoot::cuda
