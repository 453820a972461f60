// SPDX-License-Identifier: Apache-2.0
// The instruction sets that kernels are compiled for. Include before any header of Highway.
//
// The rounding contract of runtime/ops/gemm.h needs a fused multiply-add: SSE has none, so x86
// machines without AVX2 and FMA take the scalar target, where std::fma keeps the bits (slowly).
// Files that gain from the integer dot products of newer AVX-512 machines define HWY_WANT_AVX3_DL
// before. Kernels hold vectors in arrays, which rules out the sizeless vectors of SVE: Arm runs
// NEON.
#pragma once

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
