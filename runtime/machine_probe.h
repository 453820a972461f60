// SPDX-License-Identifier: Apache-2.0
// What this machine is and what it can do at best: the yardsticks of `bench` and `doctor`.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/dtype.h"
#include "runtime/ops/gemm.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

struct CpuFeatures {
  std::string model;         // "AMD EPYC", as the system calls it
  std::string kernels;       // the instruction set that the kernels run on: "AVX2", "AVX3", "NEON",
                             // "AVX3_DL and AMX" where tile registers multiply codes
  bool fused = true;         // false: no fused multiply-add here, kernels emulate it, slowly
  int allowed_cores = 1;     // that the calling thread may use: ask before a ThreadPool binds it
  int64_t memory_bytes = 0;  // of the machine
};

CpuFeatures DetectCpu();

// One line: model, kernels, cores; with a warning when `fused` is false.
std::string Describe(const CpuFeatures& cpu);

// Bytes per second that the pool's threads read from memory: median over passes of a sum over
// 512 MiB, about 0.3 s in all. 0 when the memory for it is not to be had.
double MeasureReadBandwidth(ThreadPool& pool);

// What products are made of (runtime/ops/gemm.h).
enum class ProductKind : uint8_t {
  kFloats,    // float32
  kIntegers,  // 16-bit integers into 32-bit sums: quantised weights
  kBytes,     // 8-bit ones, where there are instructions for them; else 16-bit ones all the same
  kBfloat16,  // pairs of bfloat16 into float32 sums
  kBfloat16Tiles,  // the same in SumOrder::kNative, where this processor has an order of its own
  kFloatTiles,     // float32 beside bfloat16 there: three products of bfloat16
};
const char* ProductKindName(ProductKind kind);
// Of weights that are integer or E2M1 codes, or plain (or E4M3, as kF32).
ProductKind ProductsOf(bool codes, DType plain, const ProductRules& rules);

// Whose order SumOrder::kNative is here: "AMX", or "portable" where there is none but that one.
std::string NativeSumOrder();

// Operations per second (two per multiply-add) of the pool's threads out of registers: the best of
// a few runs, about 0.1 s in all.
double MeasurePeak(ThreadPool& pool, ProductKind kind);

}  // namespace folkmoot
