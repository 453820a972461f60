// SPDX-License-Identifier: Apache-2.0
// The pattern of device code and its tests: a kernel, its arguments, a launch, and what it must
// give.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "runtime/cuda/launch.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/ptx.h"
#include "runtime/dtype.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

struct SaxpyArguments {
  int count;
  float a;
  const float* x;
  float* y;
};
__global__ void SaxpyKernel(SaxpyArguments p) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < p.count) p.y[i] += p.a * p.x[i];
}

class CudaLaunch : public CudaTest {};

TEST_F(CudaLaunch, SaxpyOverManyBlocks) {
  const int count = 1000;
  std::vector<float> x(count);
  for (int i = 0; i < count; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i);
  const Memory dx = ToDevice(x);
  const Memory dy = ToDevice(std::vector<float>(count, 1.0f));
  Launch(stream(), {.grid = 4, .block = 256}, SaxpyKernel,
         SaxpyArguments{count, 2.0f, dx.As<float>(), dy.As<float>()});
  const auto y = ToHost<float>(dy);
  for (int i = 0; i < count; ++i) {
    ASSERT_EQ(y[static_cast<size_t>(i)], 1.0f + 2.0f * static_cast<float>(i)) << i;
  }
}

// The sum of each block's values: over the warp by shuffles, over warps by shared memory.
__global__ void BlockSumKernel(const float* x, float* sums) {
  FM_SHARED(float, partial, [32]);
  float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(kFullMask, v, d);
  const unsigned warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) partial[warp] = v;
  __syncthreads();
  if (warp == 0) {
    v = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f;
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(kFullMask, v, static_cast<unsigned>(d));
    if (threadIdx.x == 0) sums[blockIdx.x] = v;
  }
}

TEST_F(CudaLaunch, BlockReduction) {
  const int blocks = 3;
  const int threads = 192;
  std::vector<float> x(blocks * threads);
  std::vector<float> expected(blocks, 0.0f);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i % 17);
    expected[i / threads] += x[i];  // exact: small integers
  }
  const Memory dx = ToDevice(x);
  const Memory sums = Zeros<float>(blocks);
  Launch(stream(), {.grid = blocks, .block = threads}, BlockSumKernel, dx.As<float>(),
         sums.As<float>());
  EXPECT_EQ(ToHost<float>(sums), expected);
}

// D[16, 8] = A[16, 16] B[16, 8], A row-major, B as [8, 16]: copied by cp.async, read by ldmatrix.
__global__ void MmaKernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* d) {
  auto* shared = reinterpret_cast<__nv_bfloat16*>(DynamicShared());  // A, then B, rows of 16
  const unsigned lane = threadIdx.x;
  CpAsync16(shared + lane * 8, a + lane * 8, true);
  CpAsync16(shared + 256 + lane * 8, b + lane % 16 * 8, lane < 16);
  CpAsyncCommit();
  CpAsyncWait<0>();
  __syncthreads();
  uint32_t fa[4];
  uint32_t fb[2];
  LdMatrixX4(fa, shared + lane % 16 * 16 + lane / 16 * 8);
  LdMatrixX2(fb, shared + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
  float fd[4] = {0, 0, 0, 0};
  MmaBf16(fd, fa, fb);
  for (unsigned i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = fd[i];
}

TEST_F(CudaLaunch, TensorCoreProduct) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<uint16_t> a(16 * 16);
  std::vector<uint16_t> b(8 * 16);
  for (uint16_t& v : a) v = FloatToBF16(uniform(random));
  for (uint16_t& v : b) v = FloatToBF16(uniform(random));
  const Memory da = ToDevice(a);
  const Memory db = ToDevice(b);
  const Memory dd = Zeros<float>(16 * 8);
  Launch(stream(), {.grid = 1, .block = 32, .shared_bytes = 1024}, MmaKernel,
         da.As<__nv_bfloat16>(), db.As<__nv_bfloat16>(), dd.As<float>());
  const auto d = ToHost<float>(dd);
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 8; ++n) {
      double expected = 0;
      for (size_t k = 0; k < 16; ++k) {
        expected += double{BF16ToFloat(a[m * 16 + k])} * double{BF16ToFloat(b[n * 16 + k])};
      }
      ASSERT_NEAR(d[m * 8 + n], expected, 1e-5) << m << ", " << n;
    }
  }
}

TEST_F(CudaLaunch, GraphRepeatsWhatWasRecorded) {
  const Memory x = ToDevice(std::vector<float>(32, 1.0f));
  const Memory y = Zeros<float>(32);
  auto graph = Graph::Record(stream(), [&] {
    for (int i = 0; i < 2; ++i) {
      Launch(stream(), {.grid = 1, .block = 32}, SaxpyKernel,
             SaxpyArguments{32, 1.0f, x.As<float>(), y.As<float>()});
    }
  });
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->kernels(), 2);
  EXPECT_EQ(ToHost<float>(y), std::vector<float>(32, 0.0f));  // nothing ran yet
  for (int i = 0; i < 3; ++i) (*graph)->Launch(stream());
  EXPECT_EQ(ToHost<float>(y), std::vector<float>(32, 6.0f));
}

}  // namespace
}  // namespace folkmoot::cuda
