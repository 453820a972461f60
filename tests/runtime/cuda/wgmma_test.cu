// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup against plain sums, over every size and both places of A.
#include "runtime/cuda/wgmma.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "runtime/cuda/launch.h"
#include "runtime/dtype.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

constexpr int kRows = 64;
constexpr int kDepth = 128;  // two blocks of 64 elements

// D[64, N] = A[64, 128] B[N, 128]^T.
template <int N, bool kBf16, bool kRegisters>
__global__ void ProductKernel(const uint16_t* a, const uint16_t* b, float* d) {
  unsigned char* shared_a = DynamicShared();
  unsigned char* shared_b = shared_a + kRows * 128;
  const auto t = static_cast<int>(threadIdx.x);
  float acc[N / 2];
  for (int i = 0; i < N / 2; ++i) acc[i] = 1000.0f;  // must not count
  for (int block = 0; block < kDepth / 64; ++block) {
    for (int i = t; i < (kRows + N) * 8; i += 128) {
      const int row = i / 8;
      const uint16_t* from = row < kRows ? a + row * kDepth : b + (row - kRows) * kDepth;
      const int swizzled = row * 128 + ((i % 8) ^ (row % 8)) * 16;
      *reinterpret_cast<uint4*>(shared_a + swizzled) =
          *reinterpret_cast<const uint4*>(from + block * 64 + i % 8 * 8);
    }
    FenceProxyAsync();
    __syncthreads();
    WgmmaFence();
    for (int step = 0; step < 4; ++step) {
      const uint64_t desc_a = WgmmaDescriptor(shared_a + step * 32);
      const uint64_t desc_b = WgmmaDescriptor(shared_b + step * 32);
      const bool accumulate = block > 0 || step > 0;
      if constexpr (kRegisters) {
        uint32_t fa[4];
        for (int r = 0; r < 4; ++r) {
          const int row = t / 32 * 16 + t % 32 / 4 + r % 2 * 8;
          const int k = block * 64 + step * 16 + t % 4 * 2 + r / 2 * 8;
          fa[r] = *reinterpret_cast<const uint32_t*>(a + row * kDepth + k);
        }
        WgmmaFence();
        if constexpr (kBf16) {
          WgmmaBf16(acc, fa, desc_b, accumulate);
        } else {
          WgmmaFp16(acc, fa, desc_b, accumulate);
        }
        WgmmaCommit();
        WgmmaWait<0>();
      } else if constexpr (kBf16) {
        WgmmaBf16(acc, desc_a, desc_b, accumulate);
      } else {
        WgmmaFp16(acc, desc_a, desc_b, accumulate);
      }
    }
    WgmmaCommit();
    WgmmaWait<0>();
    WgmmaHold(acc);
    __syncthreads();
  }
  for (int i = 0; i < N / 2; ++i) {
    const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8;
    d[row * N + i / 4 * 8 + t % 4 * 2 + i % 2] = acc[i];
  }
}

// D[64, N] = A[64, 128] B[128, N].
template <int N, bool kBf16>
__global__ void TransProductKernel(const uint16_t* a, const uint16_t* b, float* d) {
  unsigned char* shared = DynamicShared();
  const auto t = static_cast<int>(threadIdx.x);
  for (int i = t; i < kDepth * N / 8; i += 128) {
    const int k = i / (N / 8);
    const int piece = i % (N / 8);
    *reinterpret_cast<uint4*>(shared + piece / 8 * kDepth * 128 + k * 128 +
                              (piece % 8 ^ k % 8) * 16) =
        *reinterpret_cast<const uint4*>(b + k * N + piece * 8);
  }
  FenceProxyAsync();
  __syncthreads();
  float acc[N / 2] = {};
  uint32_t left[kDepth / 16][4];
  for (int step = 0; step < kDepth / 16; ++step) {
    for (int r = 0; r < 4; ++r) {
      const int row = t / 32 * 16 + t % 32 / 4 + r % 2 * 8;
      const int k = step * 16 + t % 4 * 2 + r / 2 * 8;
      left[step][r] = *reinterpret_cast<const uint32_t*>(a + row * kDepth + k);
    }
  }
  WgmmaFence();
#pragma unroll
  for (int step = 0; step < kDepth / 16; ++step) {
    const uint64_t descriptor = WgmmaTransDescriptor(shared + step * 2048, kDepth * 128);
    if constexpr (kBf16) {
      WgmmaBf16Trans(acc, left[step], descriptor);
    } else {
      WgmmaFp16Trans(acc, left[step], descriptor);
    }
  }
  WgmmaCommit();
  WgmmaWait<0>();
  WgmmaHold(acc);
  for (int i = 0; i < N / 2; ++i) {
    const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8;
    d[row * N + i / 4 * 8 + t % 4 * 2 + i % 2] = acc[i];
  }
}

class Wgmma : public CudaTest {
 protected:
  // kTrans: B is given as [128, N].
  template <int N, bool kBf16, bool kRegisters, bool kTrans = false>
  void Check() {
    if (stream().device().compute_capability != 90) GTEST_SKIP() << "wgmma is of sm_90a alone";
    std::mt19937 random(N);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<uint16_t> a(kRows * kDepth);
    std::vector<uint16_t> b(N * kDepth);
    const auto pack = [](float v) { return kBf16 ? FloatToBF16(v) : FloatToF16(v); };
    const auto unpack = [](uint16_t v) { return double{kBf16 ? BF16ToFloat(v) : F16ToFloat(v)}; };
    for (uint16_t& v : a) v = pack(uniform(random));
    for (uint16_t& v : b) v = pack(uniform(random));
    const Memory da = ToDevice(a);
    const Memory db = ToDevice(b);
    const Memory dd = Zeros<float>(kRows * N);
    if constexpr (kTrans) {
      Launch(stream(), {.grid = 1, .block = 128, .shared_bytes = kDepth * N * 2},
             TransProductKernel<N, kBf16>, da.As<uint16_t>(), db.As<uint16_t>(), dd.As<float>());
    } else {
      Launch(stream(), {.grid = 1, .block = 128, .shared_bytes = (kRows + N) * 128},
             ProductKernel<N, kBf16, kRegisters>, da.As<uint16_t>(), db.As<uint16_t>(),
             dd.As<float>());
    }
    const auto d = ToHost<float>(dd);
    for (size_t m = 0; m < kRows; ++m) {
      for (size_t n = 0; n < N; ++n) {
        double expected = 0;
        for (size_t k = 0; k < kDepth; ++k) {
          expected += unpack(a[m * kDepth + k]) * unpack(b[kTrans ? k * N + n : n * kDepth + k]);
        }
        ASSERT_NEAR(d[m * N + n], expected, 1e-4) << N << ": " << m << ", " << n;
      }
    }
  }
};

TEST_F(Wgmma, EverySizeBf16) {
  Check<8, true, false>();
  Check<16, true, false>();
  Check<32, true, false>();
  Check<64, true, false>();
  Check<128, true, false>();
  Check<256, true, false>();
}

TEST_F(Wgmma, Fp16AndRegisters) {
  Check<32, false, false>();
  Check<16, true, true>();
  Check<64, false, true>();
}

TEST_F(Wgmma, RowsOfK) {
  Check<64, true, true, true>();
  Check<128, true, true, true>();
  Check<64, false, true, true>();
  Check<128, false, true, true>();
}

}  // namespace
}  // namespace folkmoot::cuda
