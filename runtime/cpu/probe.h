// SPDX-License-Identifier: Apache-2.0
// The inner loops of runtime/machine_probe.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/machine_probe.h"

namespace folkmoot::cpu {

// Name of the instruction set that kernels are dispatched to.
std::string KernelTarget();
bool HasFusedMultiplyAdd();

// Sum of the 32-bit words, modulo 2^32. `bytes` is a multiple of 1024; `data` 64-byte aligned.
uint32_t SumWords(const std::byte* data, int64_t bytes);

// Runs `rounds` rounds of independent multiply-adds; returns the operations done. `sink` keeps the
// compiler from dropping them.
int64_t RunProducts(ProductKind kind, int64_t rounds, float* sink);

}  // namespace folkmoot::cpu
