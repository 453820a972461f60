// SPDX-License-Identifier: Apache-2.0
// What stands behind the simulator's handles. For its implementation only.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/cuda/sim/runtime_api.h"

// NOLINTBEGIN(readability-identifier-naming): the names are CUDA's.

struct CUgraphNode_st {
  cudaGraphNodeType type;
  std::function<cudaError_t()> run;
};
struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUstream_st {
  std::unique_ptr<CUgraph_st> capture;  // while recording
  std::atomic<bool> held = false;       // sim::HoldStream
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

// NOLINTEND(readability-identifier-naming)

namespace folkmoot::cuda::sim {

// Keeps an error for cudaGetLastError and returns it.
cudaError_t Report(cudaError_t error);
// Does the work now, or records it where the stream is being captured.
cudaError_t Do(cudaStream_t stream, cudaGraphNodeType type, std::function<cudaError_t()> work);

}  // namespace folkmoot::cuda::sim
