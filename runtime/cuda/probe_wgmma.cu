// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/probe_wgmma.h"

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/wgmma.h"

namespace folkmoot::cuda {
namespace {

constexpr int kRowBytes = 128;
constexpr int kRowsA = 64;
constexpr int kRowsB = 256;
constexpr int kWarpgroups = kWgmmaProbeThreads / 128;
constexpr int kSharedBytes = (kWarpgroups * kRowsA + kRowsB) * kRowBytes;

// Each warpgroup multiplies its A with the B of both. Operands are zero: power, and so the clock,
// is at its best, as it should be for a ceiling.
template <bool kBf16>
__global__ void __launch_bounds__(kWgmmaProbeThreads) WgmmaProbeKernel(int steps, float* sums) {
  unsigned char* shared = DynamicShared();
  for (unsigned i = threadIdx.x; i < kSharedBytes / 16; i += blockDim.x) {
    reinterpret_cast<uint4*>(shared)[i] = make_uint4(0, 0, 0, 0);
  }
  FenceProxyAsync();
  __syncthreads();
  const unsigned char* a = shared + threadIdx.x / 128 * (kRowsA * kRowBytes);
  const unsigned char* b = shared + kWarpgroups * kRowsA * kRowBytes;
  float d[kRowsB / 2];
  for (float& v : d) v = 0.0f;
  for (int step = 0; step < steps; step += 4) {
    WgmmaHold(d);
    WgmmaFence();
    for (int k = 0; k < 4; ++k) {
      const uint64_t desc_a = WgmmaDescriptor(a + k * 32);
      const uint64_t desc_b = WgmmaDescriptor(b + k * 32);
      if constexpr (kBf16) {
        WgmmaBf16(d, desc_a, desc_b);
      } else {
        WgmmaFp16(d, desc_a, desc_b);
      }
    }
    WgmmaCommit();
    WgmmaWait<0>();
    WgmmaHold(d);
  }
  float sum = 0.0f;
  for (const float v : d) sum += v;
  sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

}  // namespace

void LaunchWgmmaProbe(Stream& stream, DType dtype, int blocks, int steps, float* sums) {
  FM_CHECK(steps % 4 == 0);
  const LaunchShape shape{.grid = static_cast<unsigned>(blocks),
                          .block = kWgmmaProbeThreads,
                          .shared_bytes = kSharedBytes};
  if (dtype == DType::kBF16) {
    Launch(stream, shape, WgmmaProbeKernel<true>, steps, sums);
  } else {
    Launch(stream, shape, WgmmaProbeKernel<false>, steps, sums);
  }
}

}  // namespace folkmoot::cuda
