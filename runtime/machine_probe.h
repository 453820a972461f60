// SPDX-License-Identifier: Apache-2.0
// What this machine is and what it can do at best: the yardsticks of `bench` and `doctor`.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/thread_pool.h"

namespace folkmoot {

struct CpuFeatures {
  std::string model;         // "AMD EPYC", as the system calls it
  std::string kernels;       // the instruction set that the kernels run on: "AVX2", "AVX3", "NEON"
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

// float32 operations per second (two per fused multiply-add) of the pool's threads out of
// registers: the best of a few runs, about 0.1 s in all.
double MeasureFmaPeak(ThreadPool& pool);

// Operations per second (two per multiply-add) of 16-bit integers into 32-bit sums, which is what
// products with quantised weights are made of; measured likewise.
double MeasureIntegerPeak(ThreadPool& pool);

}  // namespace folkmoot
