// SPDX-License-Identifier: Apache-2.0
// The simulator finds what a GPU would not report: each mistake here must be noticed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "runtime/cuda/ptx.h"
#include "runtime/cuda/sim/fiber_stack.h"
#include "tests/runtime/cuda/sim_testing.h"

namespace folkmoot::cuda {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Turns its block's values around through shared memory; without the barrier only luck helps.
__global__ void ReverseKernel(const int* in, int* out, bool barrier) {
  FM_SHARED(int, values, [64]);
  values[threadIdx.x] = in[threadIdx.x];
  if (barrier) __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}

TEST_F(SimTest, MissingBarrierIsFoundByEverySeed) {
  std::vector<int> in(64);
  std::iota(in.begin(), in.end(), 0);
  const Memory din = ToDevice(in);
  const Memory dout = Zeros<int>(64);
  std::reverse(in.begin(), in.end());
  ForSeeds(30, [&](uint64_t seed) {
    Launch(stream(), {.grid = 1, .block = 64}, ReverseKernel, din.As<int>(), dout.As<int>(), true);
    EXPECT_EQ(ToHost<int>(dout), in) << seed;
    Launch(stream(), {.grid = 1, .block = 64}, ReverseKernel, din.As<int>(), dout.As<int>(), false);
    EXPECT_NE(ToHost<int>(dout), in) << seed;
  });
}

// Each lane reads what the next lower one wrote: in the natural order nothing is wrong without the
// barrier.
__global__ void NextKernel(int* out) {
  FM_SHARED(int, values, [32]);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = values[threadIdx.x == 0 ? 0 : threadIdx.x - 1];
}

TEST_F(SimTest, HiddenMissingBarrierIsFoundByMostSeeds) {
  const Memory out = Zeros<int>(32);
  int found = 0;
  std::vector<int> expected(32);
  for (size_t i = 1; i < 32; ++i) expected[i] = static_cast<int>(i) - 1;
  ForSeeds(32, [&](uint64_t) {
    Launch(stream(), {.grid = 1, .block = 32}, NextKernel, out.As<int>());
    if (ToHost<int>(out) != expected) ++found;
  });
  EXPECT_GE(found, 16);
}

__global__ void LeaveEarlyKernel() {
  if (blockIdx.y == 1 && threadIdx.x == 5) return;
  __syncthreads();
}

TEST_F(SimTest, BarrierThatAThreadDoesNotReach) {
  ForSeeds(5, [&](uint64_t) {
    EXPECT_THAT(FailureOf({.grid = dim3(1, 2), .block = dim3(8, 4)}, LeaveEarlyKernel),
                AllOf(HasSubstr("kernel LeaveEarlyKernel, block (0,1,0): no thread can go on"),
                      ContainsRegex("28 of 32 threads wait in __syncthreads at sim_test.cc:[0-9]+"),
                      HasSubstr("4 of 32 threads left the kernel (first: thread (5,0,0))")));
  });
}

__global__ void TwoBarriersKernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_F(SimTest, BarriersInTwoPlaces) {
  EXPECT_THAT(FailureOf({.grid = 1, .block = 64}, TwoBarriersKernel),
              AllOf(ContainsRegex("TwoBarriersKernel, block .0,0,0., thread .[0-9]+,0,0."),
                    HasSubstr("all threads of a block must come to the same one")));
}

__global__ void MissingLaneKernel(int* out) {
  if (threadIdx.x == 7) return;
  out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
}
__global__ void MixedCollectivesKernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] =
      lane < 16 ? __shfl_sync(kFullMask, lane, 0) : static_cast<int>(__ballot_sync(kFullMask, 1));
}
__global__ void PartOfAMaskKernel(int* out) { out[threadIdx.x] = __shfl_sync(0xffffu, 1, 0); }
__global__ void HalfAWarpKernel(int* out) { out[threadIdx.x] = __shfl_sync(kFullMask, 1, 0); }

TEST_F(SimTest, WarpCollectivesNeedAllLanes) {
  const Memory out = Zeros<int>(64);
  EXPECT_THAT(FailureOf({.grid = 1, .block = 32}, MissingLaneKernel, out.As<int>()),
              AllOf(HasSubstr("31 of 32 threads wait in __shfl_xor_sync at sim_test.cc:"),
                    HasSubstr("left the kernel (first: thread (7,0,0))")));
  EXPECT_THAT(FailureOf({.grid = 1, .block = 32}, MixedCollectivesKernel, out.As<int>()),
              AllOf(HasSubstr("of the same warp waits in"), HasSubstr("__ballot_sync")));
  EXPECT_THAT(FailureOf({.grid = 1, .block = 32}, PartOfAMaskKernel, out.As<int>()),
              HasSubstr("__shfl_sync: the mask is not full"));
  EXPECT_THAT(FailureOf({.grid = 1, .block = 48}, HalfAWarpKernel, out.As<int>()),
              HasSubstr("needs 32 threads together; the block has 48"));
}

// What shared memory holds before anything is written; every block writes afterwards.
__global__ void UnsetKernel(float* out) {
  FM_SHARED(float, fixed, [2]);
  auto* dynamic = reinterpret_cast<float*>(DynamicShared());
  if (threadIdx.x == 0) {
    out[blockIdx.x * 2] = fixed[1];
    out[blockIdx.x * 2 + 1] = dynamic[15];
    fixed[1] = dynamic[15] = 1.0f;
  }
}

TEST_F(SimTest, UnsetMemoryIsNan) {
  const Memory out = Zeros<float>(6);
  Launch(stream(), {.grid = 3, .block = 32, .shared_bytes = 64}, UnsetKernel, out.As<float>());
  for (const float v : ToHost<float>(out)) EXPECT_TRUE(std::isnan(v));
  auto fresh = Memory::Allocate(64, "a test");
  ASSERT_TRUE(fresh.ok());
  for (const float v : ToHost<float>(*fresh)) EXPECT_TRUE(std::isnan(v));
}

__global__ void OverrunKernel() { DynamicShared()[64 + threadIdx.x] = 0; }

TEST_F(SimTest, WritesBehindSharedMemory) {
  if (sim::kAddressSanitizer) GTEST_SKIP() << "AddressSanitizer ends the program there";
  EXPECT_THAT(FailureOf({.grid = 1, .block = 4, .shared_bytes = 64}, OverrunKernel),
              HasSubstr("OverrunKernel, block (0,0,0): wrote behind its 64 bytes"));
}

__global__ void ShufflesKernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = out + lane * 8;
  mine[0] = __shfl_sync(kFullMask, lane, 5);
  mine[1] = __shfl_sync(kFullMask, lane, 5, 16);
  mine[2] = __shfl_up_sync(kFullMask, lane, 3, 8);
  mine[3] = __shfl_down_sync(kFullMask, lane, 3, 8);
  mine[4] = __shfl_xor_sync(kFullMask, lane, 9);
  mine[5] = static_cast<int>(__ballot_sync(kFullMask, lane % 3 == 0 ? 1 : 0));
  mine[6] = static_cast<int>(__match_any_sync(kFullMask, lane % 4));
  mine[7] = __reduce_add_sync(kFullMask, lane) + __reduce_max_sync(kFullMask, -lane);
}

TEST_F(SimTest, Shuffles) {
  const Memory out = Zeros<int>(32 * 8);
  ForSeeds(4, [&](uint64_t) {
    Launch(stream(), {.grid = 1, .block = 32}, ShufflesKernel, out.As<int>());
    const auto got = ToHost<int>(out);
    for (int lane = 0; lane < 32; ++lane) {
      const int* mine = got.data() + lane * 8;
      EXPECT_EQ(mine[0], 5);
      EXPECT_EQ(mine[1], lane < 16 ? 5 : 21);
      EXPECT_EQ(mine[2], lane % 8 < 3 ? lane : lane - 3);
      EXPECT_EQ(mine[3], lane % 8 > 4 ? lane : lane + 3);
      EXPECT_EQ(mine[4], lane ^ 9);
      EXPECT_EQ(static_cast<unsigned>(mine[5]), 0x49249249u);
      EXPECT_EQ(static_cast<unsigned>(mine[6]), 0x11111111u << lane % 4);
      EXPECT_EQ(mine[7], 31 * 16);
    }
  });
}

__global__ void VotesKernel(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(t < 40 ? 1 : 0);
  const int any = __syncthreads_or(t == 63 ? 1 : 0);
  const int all = __syncthreads_and(t != 63 ? 1 : 0);
  if (t == 17) out[0] = count * 100 + any * 10 + all;
}

TEST_F(SimTest, VotesOfABlock) {
  const Memory out = Zeros<int>(1);
  ForSeeds(4, [&](uint64_t) {
    Launch(stream(), {.grid = 1, .block = 64}, VotesKernel, out.As<int>());
    EXPECT_EQ(ToHost<int>(out)[0], 4010);
  });
}

// Warps 1 and 2 produce for warp 0 through barriers 1 (full) and 2 (empty).
__global__ void NamedBarriersKernel(int* out) {
  FM_SHARED(int, slots, [64]);
  const unsigned t = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    if (t >= 32) {
      if (round > 0) NamedBarrierSync(2, 96);
      slots[t - 32] = static_cast<int>(t) * (round + 1);
      NamedBarrierArrive(1, 96);
    } else {
      NamedBarrierSync(1, 96);
      out[round * 32 + static_cast<int>(t)] = slots[t] + slots[t + 32];
      if (round < 2) NamedBarrierArrive(2, 96);
    }
  }
}
__global__ void UnequalBarrierKernel() { NamedBarrierSync(1, threadIdx.x < 32 ? 64 : 96); }

TEST_F(SimTest, NamedBarriers) {
  const Memory out = Zeros<int>(96);
  ForSeeds(10, [&](uint64_t seed) {
    Launch(stream(), {.grid = 1, .block = 96}, NamedBarriersKernel, out.As<int>());
    const auto got = ToHost<int>(out);
    for (int i = 0; i < 96; ++i) {
      ASSERT_EQ(got[static_cast<size_t>(i)], (96 + 2 * (i % 32)) * (i / 32 + 1)) << seed;
    }
  });
  EXPECT_THAT(FailureOf({.grid = 1, .block = 96}, UnequalBarrierKernel),
              HasSubstr("bar.sync 1 at"));
}

// Every block adds one and waits until all have.
__global__ void MeetKernel(uint32_t* count, int* seen) {
  FM_SHARED(int, last, [1]);
  if (threadIdx.x == 0) {
    AddAcquireRelease(count, 1);
    while (LoadAcquire(count) < gridDim.x) SpinPause();
    last[0] = static_cast<int>(LoadAcquire(count));
  }
  __syncthreads();
  if (threadIdx.x == 1) seen[blockIdx.x] = last[0];
}
__global__ void WaitForeverKernel(uint32_t* word) {
  while (LoadAcquire(word) == 0) SpinPause();
}

TEST_F(SimTest, BlocksOfACooperativeLaunchWaitForEachOther) {
  const Memory count = Zeros<uint32_t>(1);
  const Memory seen = Zeros<int>(6);
  Launch(stream(), {.grid = 6, .block = 64, .cooperative = true}, MeetKernel, count.As<uint32_t>(),
         seen.As<int>());
  EXPECT_EQ(ToHost<int>(seen), std::vector<int>(6, 6));
  EXPECT_THAT(FailureOf({.grid = 1000, .block = 1024, .cooperative = true}, WaitForeverKernel,
                        count.As<uint32_t>()),
              HasSubstr("cudaErrorCooperativeLaunchTooLarge"));
  FillZero(stream(), count.data(), 4);
  sim::Options().spin_seconds = 0;
  EXPECT_THAT(FailureOf({.grid = 2, .block = 32, .cooperative = true}, WaitForeverKernel,
                        count.As<uint32_t>()),
              HasSubstr("waits for memory in a loop"));
}

__global__ void AtomicsKernel(int* sum, unsigned* most, float* total) {
  atomicAdd(sum, static_cast<int>(threadIdx.x));
  atomicMax(most, threadIdx.x);
  atomicAdd(total, 0.5f);
}

TEST_F(SimTest, Atomics) {
  const Memory sum = Zeros<int>(1);
  const Memory most = Zeros<unsigned>(1);
  const Memory total = Zeros<float>(1);
  Launch(stream(), {.grid = 2, .block = 100}, AtomicsKernel, sum.As<int>(), most.As<unsigned>(),
         total.As<float>());
  EXPECT_EQ(ToHost<int>(sum)[0], 2 * 4950);
  EXPECT_EQ(ToHost<unsigned>(most)[0], 99u);
  EXPECT_EQ(ToHost<float>(total)[0], 100.0f);
}

TEST_F(SimTest, LaunchesThatAGpuRefuses) {
  EXPECT_THAT(
      FailureOf({.grid = 1, .block = 1025}, LeaveEarlyKernel),
      AllOf(HasSubstr("launch of LeaveEarlyKernel"), HasSubstr("cudaErrorInvalidConfiguration")));
  EXPECT_THAT(FailureOf({.grid = 0, .block = 32}, LeaveEarlyKernel),
              HasSubstr("cudaErrorInvalidConfiguration"));
  EXPECT_THAT(FailureOf({.grid = 1, .block = 32, .shared_bytes = 300000}, LeaveEarlyKernel),
              HasSubstr("cudaErrorInvalidValue"));
}

__global__ void EmptyKernel() {}

// Blocks in which nobody waits.
TEST_F(SimTest, ManySmallBlocks) {
  Launch(stream(), {.grid = 2000, .block = 256}, EmptyKernel);
  EXPECT_TRUE(stream().Synchronize().ok());
}

}  // namespace
}  // namespace folkmoot::cuda
