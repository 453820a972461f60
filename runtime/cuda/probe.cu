// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/probe.h"

#include <algorithm>
#include <limits>

#include "runtime/check.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/probe_wgmma.h"
#include "runtime/cuda/ptx.h"

namespace folkmoot::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 8;
constexpr int kUnroll = 8;  // 16-byte loads in flight for each thread

__global__ void __launch_bounds__(kThreads)
    ReadKernel(const uint4* data, int64_t count, unsigned* sums) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  unsigned sum = 0;
  int64_t i = first;
  for (; i + (kUnroll - 1) * stride < count; i += kUnroll * stride) {
    uint4 v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) v[u] = LoadGlobalStreaming(data + i + u * stride);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  for (; i < count; i += stride) {
    const uint4 v = LoadGlobalStreaming(data + i);
    sum ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  sums[first] = sum;
}

constexpr int kTiles = 8;  // independent products of a warp, to hide their latency

template <bool kBf16>
__global__ void __launch_bounds__(kThreads) MmaProbeKernel(int steps, float* sums) {
  float d[kTiles][4] = {};
  const uint32_t a[4] = {};
  const uint32_t b[2] = {};
  for (int step = 0; step < steps; step += kTiles) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      if constexpr (kBf16) {
        MmaBf16(d[tile], a, b);
      } else {
        MmaFp16(d[tile], a, b);
      }
    }
  }
  float sum = 0.0f;
  for (int tile = 0; tile < kTiles; ++tile)
    sum += d[tile][0] + d[tile][1] + d[tile][2] + d[tile][3];
  sums[blockIdx.x * kThreads + threadIdx.x] = sum;
}

__global__ void EmptyKernel() {}

// The least seconds that `work` takes, after one run that is not counted.
absl::StatusOr<double> BestSeconds(Stream& stream, int repeats, absl::FunctionRef<void()> work) {
  FM_CHECK(repeats > 0);
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Timer> timer, Timer::Create());
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= repeats; ++i) {
    timer->Start(stream);
    work();
    timer->Stop(stream);
    FM_RETURN_IF_ERROR(stream.Synchronize());
    FM_ASSIGN_OR_RETURN(const double seconds, timer->Seconds());
    if (i > 0) best = std::min(best, seconds);
  }
  return best;
}

}  // namespace

absl::StatusOr<double> ProbeReadBandwidth(Stream& stream, int64_t bytes, int repeats) {
  FM_CHECK(bytes > 0 && bytes % 16 == 0);
  const int blocks = stream.device().multiprocessors * kBlocksPerMultiprocessor;
  FM_ASSIGN_OR_RETURN(const Memory data, Memory::Allocate(bytes, "the bandwidth probe"));
  FM_ASSIGN_OR_RETURN(const Memory sums,
                      Memory::Allocate(int64_t{blocks} * kThreads * 4, "the bandwidth probe"));
  FillZero(stream, data.data(), bytes);
  FM_ASSIGN_OR_RETURN(const double seconds, BestSeconds(stream, repeats, [&] {
                        Launch(stream, {.grid = static_cast<unsigned>(blocks), .block = kThreads},
                               ReadKernel, data.As<const uint4>(), bytes / 16, sums.As<unsigned>());
                      }));
  return static_cast<double>(bytes) / seconds;
}

absl::StatusOr<double> ProbeMatrixRate(Stream& stream, MatrixUnit unit, DType dtype, int steps,
                                       int repeats) {
  FM_CHECK(dtype == DType::kBF16 || dtype == DType::kF16);
  FM_CHECK(steps > 0 && steps % kTiles == 0);
  const DeviceInfo& device = stream.device();
  const bool warpgroup = unit == MatrixUnit::kWarpgroup;
  if (warpgroup && device.compute_capability != 90) {
    return FailedPrecondition("wgmma needs compute capability 9.0; {} has {}.{}", device.name,
                              device.compute_capability / 10, device.compute_capability % 10);
  }
  const int blocks = device.multiprocessors * (warpgroup ? 1 : 4);
  const int threads = warpgroup ? kWgmmaProbeThreads : kThreads;
  FM_ASSIGN_OR_RETURN(const Memory sums,
                      Memory::Allocate(int64_t{blocks} * threads * 4, "the matrix probe"));
  FM_ASSIGN_OR_RETURN(const double seconds, BestSeconds(stream, repeats, [&] {
                        const LaunchShape shape{.grid = static_cast<unsigned>(blocks),
                                                .block = kThreads};
                        if (warpgroup) {
                          LaunchWgmmaProbe(stream, dtype, blocks, steps, sums.As<float>());
                        } else if (dtype == DType::kBF16) {
                          Launch(stream, shape, MmaProbeKernel<true>, steps, sums.As<float>());
                        } else {
                          Launch(stream, shape, MmaProbeKernel<false>, steps, sums.As<float>());
                        }
                      }));
  const double product = warpgroup ? 2.0 * 64 * 256 * 16 : 2.0 * 16 * 8 * 16;
  const int workers = blocks * threads / (warpgroup ? 128 : 32);
  return product * workers * steps / seconds;
}

absl::StatusOr<double> ProbeKernelGap(Stream& stream, int kernels, int repeats) {
  FM_CHECK(kernels > 1);
  FM_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, Graph::Record(stream, [&] {
                        for (int i = 0; i < kernels; ++i) {
                          Launch(stream, {.grid = 1, .block = 32}, EmptyKernel);
                        }
                      }));
  FM_ASSIGN_OR_RETURN(const double seconds,
                      BestSeconds(stream, repeats, [&] { graph->Launch(stream); }));
  return seconds / kernels;
}

}  // namespace folkmoot::cuda
