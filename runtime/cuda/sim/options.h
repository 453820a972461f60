// SPDX-License-Identifier: Apache-2.0
// The machine that the simulator pretends to be. Read from the environment once; tests change it.
#pragma once

#include <cstdint>
#include <string>

struct CUstream_st;

namespace folkmoot::cuda::sim {

struct SimOptions {
  uint64_t seed = 1;            // FOLKMOOT_SIM_SEED: order of threads; 0: the natural one
  int devices = 4;              // FOLKMOOT_SIM_DEVICES
  int compute_capability = 90;  // FOLKMOOT_SIM_CAPABILITY
  int multiprocessors = 4;      // FOLKMOOT_SIM_MULTIPROCESSORS: few, so that persistent kernels end
  int64_t memory_bytes = int64_t{8} << 30;  // FOLKMOOT_SIM_MEMORY: of each device
  int64_t shared_bytes_per_block = 232448;  // 227 KiB, as on sm_90
  int spin_seconds = 60;  // FOLKMOOT_SIM_SPIN_SECONDS: longest wait in a SpinPause() loop
};

// Change it only while nothing runs.
SimOptions& Options();

// While a stream is held, as if a kernel on it hung, cudaStreamQuery says that it is still at work,
// and what is started on it is dropped.
void HoldStream(CUstream_st* stream, bool hold);

// Device allocations that were not freed.
int64_t LiveAllocations();
// What the last failed launch of this OS thread said.
const std::string& LastFailure();

}  // namespace folkmoot::cuda::sim
