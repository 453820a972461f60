// SPDX-License-Identifier: Apache-2.0
// The instructions that CUDA C++ has no word for, one function each (PTX ISA 9.0). In the simulator
// the same functions are emulated from the same document (sim/ptx_sim.h).
//
// Fragments of mma.m16n8k16 in lane l, with g = l / 4 and t = l % 4; two 16-bit elements a
// register, the one with the lower column (row, for B) in the lower half:
//   A[16, 16]: a[0] = A[g][2t, 2t+1]  a[1] = A[g+8][2t..]  a[2] = A[g][2t+8..]  a[3] =
//   A[g+8][2t+8..] B[16, 8]:  b[0] = B[2t, 2t+1][g]  b[1] = B[2t+8, 2t+9][g] D[16, 8]:  d[0], d[1]
//   = D[g][2t, 2t+1]  d[2], d[3] = D[g+8][2t, 2t+1]
// LdMatrix: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, 16-byte aligned); it
// gets r[i] = elements (2t, 2t+1) of row g of matrix i; Trans: of column g.
#pragma once

#include "runtime/cuda/platform.h"

#if defined(FOLKMOOT_CUDA_SIM)
#include "runtime/cuda/sim/ptx_sim.h"
#elif defined(__CUDACC__)

namespace folkmoot::cuda {

// The address of shared memory as instructions want it.
__device__ inline uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Starts to copy 16 bytes, both sides 16-byte aligned; zeros where !valid. The bytes are there for
// this thread after CpAsyncWait, for others after a barrier too.
__device__ inline void CpAsync16(void* shared, const void* global, bool valid) {
  asm volatile(
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(SharedAddress(shared)),
      "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
      : "memory");
}
__device__ inline void CpAsyncCommit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
// Waits for all of this thread's groups but the N newest.
template <int N>
__device__ inline void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

__device__ inline void LdMatrixX4(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
}
__device__ inline void LdMatrixX4Trans(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
}
// The addresses of lanes 16 to 31 are not read.
__device__ inline void LdMatrixX2(uint32_t (&r)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(shared_row))
               : "memory");
}
__device__ inline void LdMatrixX2Trans(uint32_t (&r)[2], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(SharedAddress(shared_row))
               : "memory");
}

// d += a * b.
__device__ inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void MmaFp16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 2^x with a relative error below 2^-22; subnormal results are 0. 2^0 is 1, 2^-infinity 0.
__device__ inline float Exp2Approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}
// 1 / x with a relative error below 2^-22; 0 where that is subnormal.
__device__ inline float ReciprocalApprox(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

// 16 bytes that are read once: not kept in L1. The memory must not change during the kernel.
__device__ inline uint4 LoadGlobalStreaming(const void* global) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(__cvta_generic_to_global(global)));
  return v;
}
// Into L2.
__device__ inline void Prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(__cvta_generic_to_global(global)));
}

// Words through which blocks and ranks wait for each other: what was written before StoreRelease is
// seen after the LoadAcquire that reads its value. Scope: the GPU, or every GPU and the host.
__device__ inline uint32_t LoadAcquire(const uint32_t* word) {
  uint32_t v;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];\n" : "=r"(v) : "l"(word) : "memory");
  return v;
}
__device__ inline void StoreRelease(uint32_t* word, uint32_t v) {
  asm volatile("st.release.gpu.u32 [%0], %1;\n" ::"l"(word), "r"(v) : "memory");
}
__device__ inline uint64_t LoadAcquireSystem(const uint64_t* word) {
  uint64_t v;
  asm volatile("ld.acquire.sys.u64 %0, [%1];\n" : "=l"(v) : "l"(word) : "memory");
  return v;
}
__device__ inline void StoreReleaseSystem(uint64_t* word, uint64_t v) {
  asm volatile("st.release.sys.u64 [%0], %1;\n" ::"l"(word), "l"(v) : "memory");
}
// Adds with acquire and release (the last block of many to arrive sees what the others wrote).
__device__ inline uint32_t AddAcquireRelease(uint32_t* word, uint32_t v) {
  uint32_t old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;\n"
               : "=r"(old)
               : "l"(__cvta_generic_to_global(word)), "r"(v)
               : "memory");
  return old;
}

// Barrier 1 to 15 of the block over `threads` threads, a multiple of 32.
__device__ inline void NamedBarrierSync(int id, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void NamedBarrierArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

// Programmatic dependent launch (LaunchShape::overlap): Wait returns when the preceding kernel has
// ended and its writes are visible; Launch lets the following one start early.
__device__ inline void GridDependencyWait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}
__device__ inline void GridDependencyLaunch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace folkmoot::cuda

#endif
