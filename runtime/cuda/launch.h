// SPDX-License-Identifier: Apache-2.0
// The one way in which kernels are started. For .cu files.
#pragma once

#include <cstddef>
#include <utility>

#include "runtime/cuda/device.h"
#include "runtime/cuda/platform.h"

namespace folkmoot::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic
  // May start before its predecessor has ended (sm_90): the kernel calls GridDependencyWait()
  // (ptx.h) before it touches what the predecessor writes.
  bool overlap = false;
  // All blocks run at the same time, so that they may wait for each other.
  bool cooperative = false;
};

// Implementation (device.cc). Allows the kernel more than 48 KiB of shared memory.
cudaError_t AllowSharedBytes(const void* kernel, size_t bytes);
// Keeps an error as the stream's, named after the kernel.
void FinishLaunch(Stream& stream, const void* kernel, cudaError_t error);

// Starts kernel(arguments...) on the stream. Does nothing when the stream has failed before.
template <typename... P, typename... A>
void Launch(Stream& stream, const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
  if (!stream.status().ok()) return;
  const void* address = reinterpret_cast<const void*>(kernel);
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle());
  config.attrs = attributes;
  if (shape.cooperative) {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  }
  if (shape.overlap && stream.device().compute_capability >= 90) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  cudaError_t error = AllowSharedBytes(address, shape.shared_bytes);
  if (error == cudaSuccess) {
    error = cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...);
  }
  if (error != cudaSuccess) FinishLaunch(stream, address, error);
}

}  // namespace folkmoot::cuda
