// SPDX-License-Identifier: Apache-2.0
// The simulator's instructions: fragment layouts against plain sums, and copies and products that
// are looked at too early.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "runtime/cuda/ptx.h"
#include "runtime/cuda/wgmma.h"
#include "tests/runtime/cuda/sim_testing.h"

namespace folkmoot::cuda {
namespace {

using ::testing::HasSubstr;

class SimInstructions : public SimTest {};

enum class Early { kNothing, kNoWait, kWaitForOlder, kOtherThread };

// Copies two pieces of 16 bytes in two groups and reads the second.
__global__ void CopyKernel(const float* from, float* out, Early early) {
  auto* shared = reinterpret_cast<float*>(DynamicShared());
  const unsigned t = threadIdx.x;
  CpAsync16(shared + t * 4, from + t * 4, true);
  CpAsyncCommit();
  CpAsync16(shared + 128 + t * 4, from + 128 + t * 4, t != 3);
  CpAsyncCommit();
  if (early == Early::kNothing || early == Early::kOtherThread) CpAsyncWait<0>();
  if (early == Early::kWaitForOlder) CpAsyncWait<1>();
  if (early != Early::kOtherThread) __syncthreads();
  out[t * 2] = shared[127 - t * 4];
  out[t * 2 + 1] = shared[128 + (127 - t * 4)];
}

TEST_F(SimInstructions, CopiesAreThereAfterTheWaitOnly) {
  std::vector<float> from(256);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  const Memory dfrom = ToDevice(from);
  const Memory dout = Zeros<float>(64);
  const auto run = [&](Early early) {
    Launch(stream(), {.grid = 1, .block = 32, .shared_bytes = 1024}, CopyKernel, dfrom.As<float>(),
           dout.As<float>(), early);
    return ToHost<float>(dout);
  };
  ForSeeds(8, [&](uint64_t) {
    const auto good = run(Early::kNothing);
    const auto none = run(Early::kNoWait);
    const auto older = run(Early::kWaitForOlder);
    for (size_t t = 0; t < 32; ++t) {
      EXPECT_EQ(good[t * 2], from[127 - t * 4]);
      EXPECT_EQ(good[t * 2 + 1], t == 28 ? 0.0f : from[255 - t * 4]);  // thread 3's was not valid
      EXPECT_TRUE(std::isnan(none[t * 2]) && std::isnan(none[t * 2 + 1]));
      EXPECT_EQ(older[t * 2], from[127 - t * 4]);
      EXPECT_TRUE(std::isnan(older[t * 2 + 1]));
    }
    EXPECT_NE(run(Early::kOtherThread), good);  // waited, but no barrier
  });
}

// D[16, 8] += A[16, 16] B[16, 8] with B as [16][8] (kTrans) or [8][16] in shared memory.
template <bool kBf16, bool kTrans>
__global__ void MmaKernel(const uint16_t* a, const uint16_t* b, float* d) {
  auto* shared = reinterpret_cast<uint16_t*>(DynamicShared());
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) shared[i] = a[i];
  for (unsigned i = lane; i < 128; i += 32) shared[256 + i] = b[i];
  __syncwarp();
  uint32_t fa[4];
  uint32_t fb[2];
  LdMatrixX4(fa, shared + lane % 16 * 16 + lane / 16 * 8);
  if constexpr (kTrans) {
    LdMatrixX2Trans(fb, shared + 256 + lane % 16 * 8);
  } else {
    LdMatrixX2(fb, shared + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
  }
  float fd[4];
  for (unsigned i = 0; i < 4; ++i) fd[i] = d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
  if constexpr (kBf16) {
    MmaBf16(fd, fa, fb);
  } else {
    MmaFp16(fd, fa, fb);
  }
  for (unsigned i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = fd[i];
}

TEST_F(SimInstructions, MmaIsADoubleProduct) {
  const auto check = [&](auto kernel, bool bf16, bool trans) {
    std::mt19937 random(11);
    std::normal_distribution<float> normal;
    std::vector<uint16_t> a(256);
    std::vector<uint16_t> b(128);
    std::vector<float> d(128);
    for (uint16_t& v : a) v = bf16 ? FloatToBF16(normal(random)) : FloatToF16(normal(random));
    for (uint16_t& v : b) v = bf16 ? FloatToBF16(normal(random)) : FloatToF16(normal(random));
    for (float& v : d) v = normal(random);
    const Memory da = ToDevice(a);
    const Memory db = ToDevice(b);
    const Memory dd = ToDevice(d);
    Launch(stream(), {.grid = 1, .block = 32, .shared_bytes = 768}, kernel, da.As<uint16_t>(),
           db.As<uint16_t>(), dd.As<float>());
    const auto got = ToHost<float>(dd);
    const auto value = [&](uint16_t v) { return double{bf16 ? BF16ToFloat(v) : F16ToFloat(v)}; };
    for (size_t m = 0; m < 16; ++m) {
      for (size_t n = 0; n < 8; ++n) {
        double sum = double{d[m * 8 + n]};
        for (size_t k = 0; k < 16; ++k) {
          sum += value(a[m * 16 + k]) * value(b[trans ? k * 8 + n : n * 16 + k]);
        }
        ASSERT_EQ(got[m * 8 + n], static_cast<float>(sum)) << m << ", " << n;
      }
    }
  };
  check(MmaKernel<true, false>, true, false);
  check(MmaKernel<true, true>, true, true);
  check(MmaKernel<false, false>, false, false);
  check(MmaKernel<false, true>, false, true);
}

// All four matrices, as they lie and turned.
__global__ void LdMatrixKernel(uint32_t* out) {
  auto* shared = reinterpret_cast<uint16_t*>(DynamicShared());  // 32 rows of 8
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 8; ++i) shared[lane * 8 + i] = static_cast<uint16_t>(lane * 8 + i);
  __syncwarp();
  uint32_t r[4];
  uint32_t s[4];
  LdMatrixX4(r, shared + lane * 8);
  LdMatrixX4Trans(s, shared + lane * 8);
  for (unsigned i = 0; i < 4; ++i) {
    out[lane * 8 + i] = r[i];
    out[lane * 8 + 4 + i] = s[i];
  }
}
__global__ void CrookedRowKernel() {
  uint32_t r[4];
  LdMatrixX4(r, DynamicShared() + threadIdx.x * 8);
}

TEST_F(SimInstructions, LdMatrix) {
  const Memory out = Zeros<uint32_t>(256);
  Launch(stream(), {.grid = 1, .block = 32, .shared_bytes = 512}, LdMatrixKernel,
         out.As<uint32_t>());
  const auto got = ToHost<uint32_t>(out);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t m = 0; m < 4; ++m) {
      const auto element = [&](uint32_t row, uint32_t column) { return m * 64 + row * 8 + column; };
      const uint32_t g = lane / 4;
      const uint32_t t = lane % 4 * 2;
      EXPECT_EQ(got[lane * 8 + m], element(g, t) | element(g, t + 1) << 16);
      EXPECT_EQ(got[lane * 8 + 4 + m], element(t, g) | element(t + 1, g) << 16);
    }
  }
  EXPECT_THAT(FailureOf({.grid = 1, .block = 32, .shared_bytes = 512}, CrookedRowKernel),
              HasSubstr("not aligned to 16 bytes"));
}

enum class Mistake { kNone, kNoFence, kReadEarly, kOtherOperand, kBufferUsedAgain };

// Accumulators of one product of ones, 16 deep.
__global__ void WgmmaKernel(float* out, Mistake mistake) {
  auto* shared = reinterpret_cast<uint16_t*>(DynamicShared());
  const unsigned t = threadIdx.x;
  const uint16_t one = __bfloat16_as_ushort(__float2bfloat16_rn(1.0f));
  for (unsigned i = t; i < (64 + 8) * 64; i += 128) shared[i] = one;
  FenceProxyAsync();
  __syncthreads();
  float d[4] = {1, 2, 3, 4};
  if (mistake != Mistake::kNoFence) WgmmaFence();
  const unsigned step = mistake == Mistake::kOtherOperand && t == 100 ? 1 : 0;
  WgmmaBf16(d, WgmmaDescriptor(shared + step * 16), WgmmaDescriptor(shared + 64 * 64));
  WgmmaCommit();
  if (mistake == Mistake::kBufferUsedAgain) {
    if (t < 64) shared[t * 64] = 0;
    __syncthreads();
  }
  const float early = d[0];
  WgmmaWait<0>();
  out[t] = mistake == Mistake::kReadEarly ? early : d[0];
}

TEST_F(SimInstructions, WgmmaMistakes) {
  const Memory out = Zeros<float>(128);
  const LaunchShape shape{.grid = 1, .block = 128, .shared_bytes = 72 * 128};
  const auto run = [&](Mistake mistake) {
    Launch(stream(), shape, WgmmaKernel, out.As<float>(), mistake);
    return ToHost<float>(out);
  };
  EXPECT_EQ(run(Mistake::kNone), std::vector<float>(128, 17.0f));
  EXPECT_NE(run(Mistake::kBufferUsedAgain), std::vector<float>(128, 17.0f));
  for (const float v : run(Mistake::kReadEarly)) EXPECT_TRUE(std::isnan(v));
  EXPECT_THAT(FailureOf(shape, WgmmaKernel, out.As<float>(), Mistake::kNoFence),
              HasSubstr("wgmma without a WgmmaFence()"));
  EXPECT_THAT(FailureOf(shape, WgmmaKernel, out.As<float>(), Mistake::kOtherOperand),
              HasSubstr("thread 100 of the warpgroup has other descriptors"));
}

__global__ void RoundKernel(const float* in, uint16_t* out, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 32) {
    out[i * 2] = __bfloat16_as_ushort(__float2bfloat16_rn(in[i]));
    out[i * 2 + 1] = __half_as_ushort(__float2half_rn(in[i]));
  }
}

TEST_F(SimInstructions, ConversionsRoundToEven) {
  std::vector<float> in = {0.0f,     -0.0f, 1.0f,    1.00390625f, 1.01171875f, 65504.0f,
                           65520.0f, 1e-8f, 3.0e38f, 3.4e38f,     INFINITY,    -INFINITY};
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 100.0f);
  for (int i = 0; i < 200; ++i) in.push_back(normal(random));
  const Memory din = ToDevice(in);
  const Memory dout = Zeros<uint16_t>(in.size() * 2);
  Launch(stream(), {.grid = 1, .block = 32}, RoundKernel, din.As<float>(), dout.As<uint16_t>(),
         static_cast<int>(in.size()));
  const auto got = ToHost<uint16_t>(dout);
  for (size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(got[i * 2], FloatToBF16(in[i])) << in[i];
    EXPECT_EQ(got[i * 2 + 1], FloatToF16(in[i])) << in[i];
  }
  EXPECT_EQ(got[3 * 2], 0x3f80);  // 1 + 2^-8: the even neighbour is below
  EXPECT_EQ(got[4 * 2], 0x3f82);  // 1 + 3 * 2^-8: above
}

}  // namespace
}  // namespace folkmoot::cuda
