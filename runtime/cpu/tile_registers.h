// SPDX-License-Identifier: Apache-2.0
// The tile registers of newer x86 processors (AMX: Sapphire Rapids), which multiply small matrices
// of bytes or of bfloat16 into 32-bit sums. Their use is in code_tiles-inl.h and bf16_tiles-inl.h.
#pragma once

#include <cstdint>

namespace folkmoot::cpu {

constexpr int64_t kTileRegisterRows = 16;
constexpr int64_t kTileRowBytes = 64;

// Whether this process may use them. The first call asks the operating system, which has to save
// 8 KiB more per thread from then on. Any thread.
bool HasTileRegisters();

// For tests and benchmarks: with false HasTileRegisters says so too, until a call with true. Not
// while products run.
void AllowTileRegisters(bool allow);

}  // namespace folkmoot::cpu
