// SPDX-License-Identifier: Apache-2.0
// The first include of every .cu and .cuh file: CUDA's names, from the toolkit or, with
// FOLKMOOT_CUDA_SIM, from the simulator, which compiles the same files as plain C++ and runs them
// on the CPU.
//
// What kernels must keep to so that both can compile them:
//   - launch with Launch() (launch.h), never <<<>>>; instructions through ptx.h, never asm;
//   - dynamic shared memory through DynamicShared(); static shared memory of plain types, best as
//     FM_SHARED(float, sums, [32]), which is aligned to 16 bytes and which the simulator fills with
//     NaN before a block uses it;
//   - every thread of a block reaches every __syncthreads, all 32 lanes every warp collective, with
//     the full mask, and blocks that use collectives have a multiple of 32 threads;
//   - a loop that waits for another thread's memory calls SpinPause();
//   - no __noinline__ (the C++ library uses the word), no device-side printf or malloc.
#pragma once

#if defined(FOLKMOOT_CUDA_SIM)
#include "runtime/cuda/sim/sim.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#endif

namespace folkmoot::cuda {

constexpr int kWarp = 32;
constexpr unsigned kFullMask = 0xffffffffu;

#if defined(FOLKMOOT_CUDA_SIM)

inline unsigned char* DynamicShared() { return sim::current.shared; }
inline void SpinPause() { sim::SpinPause(); }
#define FM_SHARED(type, name, ...)                       \
  alignas(16) static thread_local type name __VA_ARGS__; \
  ::folkmoot::cuda::sim::PoisonOnce(&name, sizeof(name))

#elif defined(__CUDACC__)

// 1024 bytes: what the 128-byte swizzle of wgmma and TMA wants.
__device__ inline unsigned char* DynamicShared() {
  extern __shared__ __align__(1024) unsigned char folkmoot_dynamic_shared[];
  return folkmoot_dynamic_shared;
}
__device__ inline void SpinPause() { __nanosleep(20); }
#define FM_SHARED(type, name, ...) __shared__ alignas(16) type name __VA_ARGS__

#endif

}  // namespace folkmoot::cuda
