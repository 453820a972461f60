// SPDX-License-Identifier: Apache-2.0
// For probe.cu alone: the part of it that is compiled for sm_90a.
#pragma once

#include "runtime/cuda/device.h"
#include "runtime/cuda/views.h"

namespace folkmoot::cuda {

// `steps` products of m64n256k16 by each of 2 warpgroups of `blocks` blocks. `sums` takes one float
// of each thread, so that nothing is optimised away.
void LaunchWgmmaProbe(Stream& stream, DType dtype, int blocks, int steps, float* sums);
constexpr int kWgmmaProbeThreads = 256;

}  // namespace folkmoot::cuda
