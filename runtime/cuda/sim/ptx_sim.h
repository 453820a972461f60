// SPDX-License-Identifier: Apache-2.0
// The simulator's side of runtime/cuda/ptx.h; what the functions do is said there.
#pragma once

// NOLINTBEGIN: the names, and what they convert to, are CUDA's.

#include <atomic>
#include <cstdint>
#include <cstring>

#include "runtime/cuda/sim/intrinsics.h"
#include "runtime/cuda/sim/threads.h"

namespace folkmoot::cuda {
namespace sim {

void LdMatrix(uint32_t* r, int matrices, bool transposed, const void* row, const Place& place);
// Products are exact, their sum is one of doubles, rounded to float once.
void Mma16816(float* d, const uint32_t* a, const uint32_t* b, bool bf16, const Place& place);

}  // namespace sim

// Offset in the block's dynamic shared memory.
uint32_t SharedAddress(const void* shared);

inline void CpAsync16(void* shared, const void* global, bool valid) {
  sim::CpAsync(shared, global, 16, valid ? 16 : 0);
}
inline void CpAsyncCommit() { sim::CpAsyncCommit(); }
template <int N>
void CpAsyncWait() {
  sim::CpAsyncWait(N);
}

inline void LdMatrixX4(uint32_t (&r)[4], const void* shared_row, FM_SIM_HERE) {
  sim::LdMatrix(r, 4, false, shared_row, place);
}
inline void LdMatrixX4Trans(uint32_t (&r)[4], const void* shared_row, FM_SIM_HERE) {
  sim::LdMatrix(r, 4, true, shared_row, place);
}
inline void LdMatrixX2(uint32_t (&r)[2], const void* shared_row, FM_SIM_HERE) {
  sim::LdMatrix(r, 2, false, shared_row, place);
}
inline void LdMatrixX2Trans(uint32_t (&r)[2], const void* shared_row, FM_SIM_HERE) {
  sim::LdMatrix(r, 2, true, shared_row, place);
}
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], FM_SIM_HERE) {
  sim::Mma16816(d, a, b, true, place);
}
inline void MmaFp16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], FM_SIM_HERE) {
  sim::Mma16816(d, a, b, false, place);
}

inline float Exp2Approx(float x) {
  const float y = exp2f(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline float ReciprocalApprox(float x) {
  const float y = 1.0f / x;
  return fabsf(y) < 0x1p-126f ? 0.0f : y;
}

inline uint4 LoadGlobalStreaming(const void* global) { return *static_cast<const uint4*>(global); }
inline void Prefetch(const void*) {}

inline uint32_t LoadAcquire(const uint32_t* word) {
  return std::atomic_ref<uint32_t>(*const_cast<uint32_t*>(word)).load(std::memory_order_acquire);
}
inline void StoreRelease(uint32_t* word, uint32_t v) {
  std::atomic_ref<uint32_t>(*word).store(v, std::memory_order_release);
}
inline uint64_t LoadAcquireSystem(const uint64_t* word) {
  return std::atomic_ref<uint64_t>(*const_cast<uint64_t*>(word)).load(std::memory_order_acquire);
}
inline void StoreReleaseSystem(uint64_t* word, uint64_t v) {
  std::atomic_ref<uint64_t>(*word).store(v, std::memory_order_release);
}
inline uint32_t AddAcquireRelease(uint32_t* word, uint32_t v) {
  return std::atomic_ref<uint32_t>(*word).fetch_add(v, std::memory_order_acq_rel);
}

inline void NamedBarrierSync(int id, int threads, FM_SIM_HERE) {
  sim::Barrier({.name = "bar.sync", .id = id, .threads = static_cast<unsigned>(threads)}, 0, place);
}
inline void NamedBarrierArrive(int id, int threads, FM_SIM_HERE) {
  sim::Barrier(
      {.name = "bar.arrive", .id = id, .threads = static_cast<unsigned>(threads), .wait = false}, 0,
      place);
}

// Kernels of a stream do not overlap here.
inline void GridDependencyWait() {}
inline void GridDependencyLaunch() {}

}  // namespace folkmoot::cuda
// NOLINTEND
