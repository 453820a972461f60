// SPDX-License-Identifier: Apache-2.0
// Warpgroup products of sm_90a (PTX ISA 9.0, 9.7.15): D[64, N] += A[64, 16] B[16, N] in float32 by
// 128 threads, asynchronously. For units compiled for sm_90a, and for the simulator.
//
// Operands in shared memory lie in rows of 128 bytes (64 elements of k), row r of 8 at r * 128, the
// next 8 rows 1024 bytes on (B: row = n), all 1024-byte aligned, with the 128-byte swizzle: 16-byte
// piece p of row r is kept at piece p ^ (r % 8). Step i of 16 elements begins 32 * i bytes in.
// A in registers: as for mma.m16n8k16, warp w holding rows 16 w .. 16 w + 15.
// B the other way (..Trans): row = k, 64 elements of n; rows and groups of 8 lie as before, the
// next 64 elements of n `apart` bytes on. Step i of 16 k begins 2048 * i bytes in. D: thread t of
// the warpgroup, w = t / 32, g = t % 32 / 4, q = t % 4:
//   d[4 j + 2 h + i] = D[16 w + g + 8 h][8 j + 2 q + i], j = 0 .. N / 8 - 1.
//
// Order: FenceProxyAsync() after writes to shared memory and before the barrier that publishes
// them; WgmmaFence() before the first product and after d or a were touched; products;
// WgmmaCommit(); WgmmaWait<n>(). Between a product and the wait for its group neither d nor the
// operands may be touched; WgmmaHold(d) after the wait keeps the compiler from moving uses of d
// over it. All four warps do the same.
#pragma once

#include "runtime/cuda/ptx.h"

#if defined(FOLKMOOT_CUDA_SIM)
#include "runtime/cuda/sim/wgmma_sim.h"
#elif defined(__CUDACC__)

namespace folkmoot::cuda {

// Of an operand whose rows lie as said above; `shared` is 1024-byte aligned plus 32 * i.
__device__ inline uint64_t WgmmaDescriptor(const void* shared) {
  const uint64_t address = (SharedAddress(shared) & 0x3ffffu) >> 4;
  constexpr uint64_t kLeading = 1;         // not used with a swizzle
  constexpr uint64_t kStride = 1024 >> 4;  // between groups of 8 rows
  constexpr uint64_t kSwizzle128 = 1;
  return address | kLeading << 16 | kStride << 32 | kSwizzle128 << 62;
}

// Of B whose rows are k; `apart` is a multiple of 1024.
__device__ inline uint64_t WgmmaTransDescriptor(const void* shared, int apart) {
  const uint64_t address = (SharedAddress(shared) & 0x3ffffu) >> 4;
  constexpr uint64_t kStride = 1024 >> 4;  // between groups of 8 rows
  constexpr uint64_t kSwizzle128 = 1;
  return address | static_cast<uint64_t>(apart >> 4) << 16 | kStride << 32 | kSwizzle128 << 62;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FM_WGMMA_ASM(...) asm volatile(__VA_ARGS__)
#else  // compiled, never run
#define FM_WGMMA_ASM(...) __trap()
#endif

// What threads wrote to shared memory becomes visible to wgmma.
__device__ inline void FenceProxyAsync() {
  FM_WGMMA_ASM("fence.proxy.async.shared::cta;\n" ::: "memory");
}
__device__ inline void WgmmaFence() { FM_WGMMA_ASM("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ inline void WgmmaCommit() {
  FM_WGMMA_ASM("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
// For all groups but the N newest.
template <int N>
__device__ inline void WgmmaWait() {
  FM_WGMMA_ASM("wgmma.wait_group.sync.aligned %0;\n" ::"n"(N) : "memory");
}
template <int N>
__device__ inline void WgmmaHold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
// Moves registers between warpgroups; N is a multiple of 8.
template <int N>
__device__ inline void IncreaseRegisters() {
  FM_WGMMA_ASM("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(N));
}
template <int N>
__device__ inline void DecreaseRegisters() {
  FM_WGMMA_ASM("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(N));
}

// clang-format off
#define FM_D4 "%0,%1,%2,%3"
#define FM_D8 FM_D4 ",%4,%5,%6,%7"
#define FM_D16 FM_D8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define FM_D32 FM_D16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define FM_D64                                                                    \
  FM_D32                                                                          \
      ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49," \
      "%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define FM_D128                                                                     \
  FM_D64                                                                            \
      ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,"   \
      "%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,"    \
      "%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114," \
      "%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
// clang-format on
#define FM_O4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define FM_O8(i) FM_O4(i), FM_O4(i + 4)
#define FM_O16(i) FM_O8(i), FM_O8(i + 8)
#define FM_O32(i) FM_O16(i), FM_O16(i + 16)
#define FM_O64(i) FM_O32(i), FM_O32(i + 32)
#define FM_O128(i) FM_O64(i), FM_O64(i + 64)

// N, registers of d, and the numbers of the operands that follow them. Where !accumulate, what was
// in d does not count.
#define FM_WGMMA(name, type, n, count, r0, r1, r2, r3, r4, r5)                                    \
  __device__ inline void name(float(&d)[count], uint64_t a, uint64_t b, bool accumulate = true) { \
    FM_WGMMA_ASM("{\n.reg .pred p;\nsetp.ne.b32 p, %" r2                                          \
                 ", 0;\n"                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" FM_D##count  \
                 "}, %" r0 ", %" r1 ", p, 1, 1, 0, 0;\n}\n"                                       \
                 : FM_O##count(0)                                                                 \
                 : "l"(a), "l"(b), "r"(accumulate ? 1 : 0)                                        \
                 : "memory");                                                                     \
  }                                                                                               \
  __device__ inline void name(float(&d)[count], const uint32_t(&a)[4], uint64_t b,                \
                              bool accumulate = true) {                                           \
    FM_WGMMA_ASM("{\n.reg .pred p;\nsetp.ne.b32 p, %" r5                                          \
                 ", 0;\n"                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" FM_D##count  \
                 "}, {%" r0 ",%" r1 ",%" r2 ",%" r3 "}, %" r4 ", p, 1, 1, 0;\n}\n"                \
                 : FM_O##count(0)                                                                 \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0)    \
                 : "memory");                                                                     \
  }
#define FM_WGMMA_TYPES(...)                \
  FM_WGMMA(WgmmaBf16, "bf16", __VA_ARGS__) \
  FM_WGMMA(WgmmaFp16, "f16", __VA_ARGS__)
FM_WGMMA_TYPES("8", 4, "4", "5", "6", "7", "8", "9")
FM_WGMMA_TYPES("16", 8, "8", "9", "10", "11", "12", "13")
FM_WGMMA_TYPES("32", 16, "16", "17", "18", "19", "20", "21")
FM_WGMMA_TYPES("64", 32, "32", "33", "34", "35", "36", "37")
FM_WGMMA_TYPES("128", 64, "64", "65", "66", "67", "68", "69")
FM_WGMMA_TYPES("256", 128, "128", "129", "130", "131", "132", "133")
#undef FM_WGMMA_TYPES
#undef FM_WGMMA

// A in registers, B with rows of k.
#define FM_WGMMA_TRANS(name, type, n, count, r0, r1, r2, r3, r4)                                 \
  __device__ inline void name(float(&d)[count], const uint32_t(&a)[4], uint64_t b) {             \
    FM_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" FM_D##count \
                 "}, {%" r0 ",%" r1 ",%" r2 ",%" r3 "}, %" r4 ", 1, 1, 1, 1;\n"                  \
                 : FM_O##count(0)                                                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)                            \
                 : "memory");                                                                    \
  }
#define FM_WGMMA_TRANS_TYPES(...)                     \
  FM_WGMMA_TRANS(WgmmaBf16Trans, "bf16", __VA_ARGS__) \
  FM_WGMMA_TRANS(WgmmaFp16Trans, "f16", __VA_ARGS__)
FM_WGMMA_TRANS_TYPES("64", 32, "32", "33", "34", "35", "36")
FM_WGMMA_TRANS_TYPES("128", 64, "64", "65", "66", "67", "68")
#undef FM_WGMMA_TRANS_TYPES
#undef FM_WGMMA_TRANS

}  // namespace folkmoot::cuda

#endif
