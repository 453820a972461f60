// SPDX-License-Identifier: Apache-2.0
// The functions of cuBLASLt that we use, as a table that is filled at run time: the program starts
// without it and says by name what is missing. The declarations are our own, so that no header of
// NVIDIA is needed to compile; where cublasLt.h is there, blas_header_check.cc compares.
//
// Semantics: cuBLAS documentation, "Using the cuBLASLt API".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/shared_library.h"
#include "runtime/status.h"

namespace folkmoot::cuda {

enum BlasStatus : int { kBlasSuccess = 0, kBlasNotSupported = 15 };
enum BlasType : int { kBlasF32 = 0, kBlasF16 = 2, kBlasBF16 = 14 };
enum BlasCompute : int { kBlasComputeF32 = 68 };
enum BlasOperation : int32_t { kBlasAsIs = 0, kBlasTransposed = 1 };
enum BlasAttribute : int { kBlasTransposeA = 3, kBlasTransposeB = 4 };
enum BlasPreferenceAttribute : int {
  kBlasWorkspaceBytes = 1,
  kBlasAlignmentA = 5,
  kBlasAlignmentB = 6,
  kBlasAlignmentC = 7,
  kBlasAlignmentD = 8,
};

struct BlasAlgorithm {
  uint64_t data[8];
};
struct BlasHeuristic {
  BlasAlgorithm algorithm;
  size_t workspace_bytes;
  BlasStatus state;
  float waves;
  int reserved[4];
};

using BlasHandle = void*;
using BlasLayout = void*;
using BlasProductDesc = void*;
using BlasPreference = void*;

struct BlasApi {
  std::string path;     // where the library was found
  int64_t version = 0;  // 130100 for 13.1.0

  size_t (*get_version)() = nullptr;
  const char* (*get_status_name)(BlasStatus) = nullptr;
  BlasStatus (*create)(BlasHandle*) = nullptr;
  BlasStatus (*destroy)(BlasHandle) = nullptr;
  BlasStatus (*layout_create)(BlasLayout*, BlasType, uint64_t rows, uint64_t cols,
                              int64_t leading) = nullptr;
  BlasStatus (*layout_destroy)(BlasLayout) = nullptr;
  BlasStatus (*desc_create)(BlasProductDesc*, BlasCompute, BlasType scale) = nullptr;
  BlasStatus (*desc_destroy)(BlasProductDesc) = nullptr;
  BlasStatus (*desc_set)(BlasProductDesc, BlasAttribute, const void*, size_t) = nullptr;
  BlasStatus (*preference_create)(BlasPreference*) = nullptr;
  BlasStatus (*preference_destroy)(BlasPreference) = nullptr;
  BlasStatus (*preference_set)(BlasPreference, BlasPreferenceAttribute, const void*,
                               size_t) = nullptr;
  BlasStatus (*get_heuristic)(BlasHandle, BlasProductDesc, BlasLayout a, BlasLayout b, BlasLayout c,
                              BlasLayout d, BlasPreference, int wanted, BlasHeuristic*,
                              int* found) = nullptr;
  BlasStatus (*product)(BlasHandle, BlasProductDesc, const void* alpha, const void* a, BlasLayout,
                        const void* b, BlasLayout, const void* beta, const void* c, BlasLayout,
                        void* d, BlasLayout, const BlasAlgorithm*, void* workspace,
                        size_t workspace_bytes, void* stream) = nullptr;
};

inline constexpr int64_t kBlasOldestVersion = 120000;

// "13.1.0".
std::string BlasVersionText(int64_t version);

// Fills the table from any source of symbols, which answers nullptr for what it does not have.
// FailedPrecondition when the library is too old or lacks a function, all of which are named.
absl::StatusOr<BlasApi> ResolveBlas(const std::string& path, const SymbolSource& symbol);

}  // namespace folkmoot::cuda
