// SPDX-License-Identifier: Apache-2.0
// The simulator's side of runtime/cuda/wgmma.h; what the functions do is said there.
//
// A product reads its operands when its group is waited for, not when it is started, and d is NaN
// until then: what comes too early on a GPU comes too early here.
#pragma once

#include <cstdint>

#include "runtime/cuda/sim/intrinsics.h"
#include "runtime/cuda/sim/threads.h"

namespace folkmoot::cuda {
namespace sim {

void WgmmaStart(float (&d)[128], uint64_t a, uint64_t b, bool bf16, const Place& place);
void WgmmaCommit();
void WgmmaWait(int newest, const Place& place);

}  // namespace sim

inline void FenceProxyAsync() {}
inline void WgmmaFence() {}
inline void WgmmaCommit() { sim::WgmmaCommit(); }
template <int N>
void WgmmaWait(FM_SIM_HERE) {
  sim::WgmmaWait(N, place);
}
template <int kRegisters>
void ShrinkRegisters() {}
template <int kRegisters>
void GrowRegisters() {}

uint64_t WgmmaOperand(const void* shared);

inline void WgmmaBf16M64N256K16(float (&d)[128], uint64_t a, uint64_t b, FM_SIM_HERE) {
  sim::WgmmaStart(d, a, b, true, place);
}
inline void WgmmaFp16M64N256K16(float (&d)[128], uint64_t a, uint64_t b, FM_SIM_HERE) {
  sim::WgmmaStart(d, a, b, false, place);
}

}  // namespace folkmoot::cuda
