// SPDX-License-Identifier: Apache-2.0
// The simulator's side of runtime/cuda/wgmma.h. A product is only noted when it is started: d holds
// NaN from then on, and the operands are read in the wait for its group, so that a wait too late or
// a buffer that is used again too early shows.
#pragma once

#include <cstdint>

#include "runtime/cuda/sim/ptx_sim.h"

namespace folkmoot::cuda {
namespace sim {

struct WgmmaUse {
  float* d;
  int n;
  const uint32_t* a_registers;  // or null
  uint64_t a;                   // descriptor
  uint64_t b;
  bool accumulate;
  bool bf16;
  bool b_trans = false;  // rows of B are k
};
void Wgmma(const WgmmaUse& use);
void FenceWgmma();
void CommitWgmma();
void WaitWgmma(int newest, const Place& place);

template <int N>
constexpr bool IsWgmmaSize() {
  return N == 4 || N == 8 || N == 16 || N == 32 || N == 64 || N == 128;
}

}  // namespace sim

inline uint64_t WgmmaDescriptor(const void* shared) {
  return (SharedAddress(shared) & 0x3ffffu) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 |
         uint64_t{1} << 62;
}
inline uint64_t WgmmaTransDescriptor(const void* shared, int apart) {
  return (SharedAddress(shared) & 0x3ffffu) >> 4 | static_cast<uint64_t>(apart >> 4) << 16 |
         uint64_t{64} << 32 | uint64_t{1} << 62;
}
inline void FenceProxyAsync() {}
inline void WgmmaFence() { sim::FenceWgmma(); }
inline void WgmmaCommit() { sim::CommitWgmma(); }
template <int N>
void WgmmaWait(FM_SIM_HERE) {
  sim::WaitWgmma(N, place);
}
template <int N>
void WgmmaHold(float (&)[N]) {}
template <int N>
void IncreaseRegisters() {}
template <int N>
void DecreaseRegisters() {}

template <int R>
void WgmmaBf16(float (&d)[R], uint64_t a, uint64_t b, bool accumulate = true) {
  static_assert(sim::IsWgmmaSize<R>());
  sim::Wgmma({d, R * 2, nullptr, a, b, accumulate, true});
}
template <int R>
void WgmmaFp16(float (&d)[R], uint64_t a, uint64_t b, bool accumulate = true) {
  static_assert(sim::IsWgmmaSize<R>());
  sim::Wgmma({d, R * 2, nullptr, a, b, accumulate, false});
}
template <int R>
void WgmmaBf16(float (&d)[R], const uint32_t (&a)[4], uint64_t b, bool accumulate = true) {
  static_assert(sim::IsWgmmaSize<R>());
  sim::Wgmma({d, R * 2, a, 0, b, accumulate, true});
}
template <int R>
void WgmmaFp16(float (&d)[R], const uint32_t (&a)[4], uint64_t b, bool accumulate = true) {
  static_assert(sim::IsWgmmaSize<R>());
  sim::Wgmma({d, R * 2, a, 0, b, accumulate, false});
}

template <int R>
void WgmmaBf16Trans(float (&d)[R], const uint32_t (&a)[4], uint64_t b) {
  static_assert(R == 32 || R == 64);
  sim::Wgmma({d, R * 2, a, 0, b, true, true, true});
}
template <int R>
void WgmmaFp16Trans(float (&d)[R], const uint32_t (&a)[4], uint64_t b) {
  static_assert(R == 32 || R == 64);
  sim::Wgmma({d, R * 2, a, 0, b, true, false, true});
}

}  // namespace folkmoot::cuda
