// SPDX-License-Identifier: Apache-2.0
// Hopper's matrix instructions (PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix Instructions"),
// for files that are compiled for sm_90a alone, and their twins in the simulator.
//
// A warpgroup is 4 warps, the first of which has an index that 4 divides; all its 128 threads call
// these functions together. Both operands lie in shared memory in rows of 64 k = 128 bytes, in
// groups of 8 rows that follow each other and begin at multiples of 1024 bytes; 16-byte piece p of
// row r is at r * 128 + ((p ^ (r & 7)) << 4).
//
// M64N256K16: D[64, 256] += A[64, 16] * B[256, 16]^T. Thread t of the warpgroup, with w = t / 32,
// g = t % 32 / 4, q = t % 4, holds d[4 j + 2 h + i] = D[16 w + g + 8 h][8 j + 2 q + i].
//
// The products run on their own: between WgmmaFence() and the WgmmaWait() that covers them, d and
// the operands must not be touched. Shared memory that other instructions have written is seen
// after the writing thread's FenceProxyAsync() and a barrier.
#pragma once

#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"

#if defined(FOLKMOOT_CUDA_SIM)
#include "runtime/cuda/sim/wgmma_sim.h"
#elif defined(__CUDACC__)

namespace folkmoot::cuda {

__device__ inline void FenceProxyAsync() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
__device__ inline void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ inline void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
// Waits for all groups but the N newest.
template <int N>
__device__ inline void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(N) : "memory");
}
// Gives registers of this warpgroup back, or takes some: a thread has kRegisters afterwards.
template <int kRegisters>
__device__ inline void ShrinkRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void GrowRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}

// 16 k of the rows that begin at `shared`: a group of 8 rows, plus 32 bytes for each 16 k.
// Start address, 1 (unused here), 1024 bytes between groups, swizzle of 128 bytes.
__device__ inline uint64_t WgmmaOperand(const void* shared) {
  return static_cast<uint64_t>((SharedAddress(shared) & 0x3ffffu) >> 4) | uint64_t{1} << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

#define FM_WGMMA_D4(i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define FM_WGMMA_D16(i) \
  FM_WGMMA_D4(i), FM_WGMMA_D4((i) + 4), FM_WGMMA_D4((i) + 8), FM_WGMMA_D4((i) + 12)
#define FM_WGMMA_D64(i) \
  FM_WGMMA_D16(i), FM_WGMMA_D16((i) + 16), FM_WGMMA_D16((i) + 32), FM_WGMMA_D16((i) + 48)
#define FM_WGMMA_M64N256K16(type)                                                              \
  asm volatile(                                                                                \
      "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"                                           \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                             \
      " "                                                                                      \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
      "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "  \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "  \
      "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, "  \
      "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, "  \
      "%87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, "    \
      "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, "   \
      "%117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "                    \
      "%128, %129, add, 1, 1, 0, 0;\n}\n"                                                      \
      : FM_WGMMA_D64(0), FM_WGMMA_D64(64)                                                      \
      : "l"(a), "l"(b))

__device__ inline void WgmmaBf16M64N256K16(float (&d)[128], uint64_t a, uint64_t b) {
  FM_WGMMA_M64N256K16("bf16");
}
__device__ inline void WgmmaFp16M64N256K16(float (&d)[128], uint64_t a, uint64_t b) {
  FM_WGMMA_M64N256K16("f16");
}

#undef FM_WGMMA_M64N256K16
#undef FM_WGMMA_D64
#undef FM_WGMMA_D16
#undef FM_WGMMA_D4

}  // namespace folkmoot::cuda

#endif
