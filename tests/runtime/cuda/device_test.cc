// SPDX-License-Identifier: Apache-2.0
// Devices, memory, streams, graphs and timers, over CUDA and over the simulator.
#include "runtime/cuda/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CudaDevice : public CudaTest {};

TEST_F(CudaDevice, DescribesDevices) {
  const auto devices = ListDevices();
  ASSERT_TRUE(devices.ok());
  for (const DeviceInfo& device : *devices) {
    EXPECT_FALSE(device.name.empty());
    EXPECT_GE(device.compute_capability, 70);
    EXPECT_GT(device.multiprocessors, 0);
    EXPECT_EQ(device.free_bytes, -1);
    const auto now = DescribeDevice(device.index);
    ASSERT_TRUE(now.ok()) << now.status();
    EXPECT_GT(now->free_bytes, 0);
    EXPECT_LE(now->free_bytes, now->total_bytes);
    EXPECT_EQ(now->uuid, device.uuid);
    EXPECT_GE(device.shared_bytes_per_block, 48 * 1024);
    EXPECT_EQ(device.uuid.size(), 32U);
    EXPECT_TRUE(UseDevice(device.index).ok());
  }
  EXPECT_TRUE(absl::IsInvalidArgument(UseDevice(static_cast<int>(devices->size()) + 3)));
  EXPECT_TRUE(UseDevice(0).ok());
}

TEST_F(CudaDevice, CopiesAndZeros) {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 0);
  const Memory a = ToDevice(values);
  const Memory b = Zeros<int>(1000);
  CopyOnDevice(stream(), b.data(), a.data(), a.bytes());
  EXPECT_EQ(ToHost<int>(b), values);
  FillZero(stream(), b.As<int>() + 10, 40);
  std::fill(values.begin() + 10, values.begin() + 20, 0);
  EXPECT_EQ(ToHost<int>(b), values);
  auto pinned = Memory::Allocate(4000, "a test", MemoryKind::kPinnedHost);
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  CopyToHost(stream(), pinned->data(), a.data(), 4000);
  ASSERT_TRUE(stream().Synchronize().ok());
  EXPECT_EQ(pinned->As<int>()[999], 999);
}

TEST_F(CudaDevice, MemoryThatDoesNotFitSaysHowMuchThereIs) {
  const int64_t before = DescribeDevice(0)->free_bytes;
  const auto memory = Memory::Allocate(int64_t{1} << 46, "the key-value cache");
  ASSERT_TRUE(absl::IsResourceExhausted(memory.status()));
  EXPECT_THAT(std::string(Message(memory.status())),
              AllOf(HasSubstr("the key-value cache needs 70368.74 GB of GPU memory"),
                    HasSubstr("are free"), HasSubstr("--max-model-len")));
  EXPECT_EQ(DescribeDevice(0)->free_bytes, before);
  EXPECT_TRUE(Memory::Allocate(256, "a test").ok());  // it left no error behind
  auto empty = Memory::Allocate(0, "nothing");
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->data(), nullptr);
  Memory moved = std::move(*Memory::Allocate(256, "a test"));
  void* data = moved.data();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 256, 0U);
  Memory target;
  target = std::move(moved);
  EXPECT_EQ(target.data(), data);
  EXPECT_EQ(target.bytes(), 256);
}

TEST_F(CudaDevice, GraphsCountKernelsOnly) {
  const Memory a = Zeros<int>(4);
  const auto graph = Graph::Record(stream(), [&] { FillZero(stream(), a.data(), a.bytes()); });
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->kernels(), 0);
  (*graph)->Launch(stream());
}

TEST_F(CudaDevice, WaitingWhileRecordingIsAnError) {
  auto own = Stream::Create();
  ASSERT_TRUE(own.ok());
  const auto graph = Graph::Record(**own, [&] { EXPECT_FALSE((*own)->Synchronize().ok()); });
  EXPECT_FALSE(graph.ok());
  EXPECT_FALSE((*own)->status().ok());  // and the stream keeps the first error
}

TEST_F(CudaDevice, StreamKeepsItsFirstErrorAndDropsWhatFollows) {
  auto own = Stream::Create();
  ASSERT_TRUE(own.ok());
  const Memory a = ToDevice(std::vector<int>(4, 7));
  ASSERT_TRUE(stream().Synchronize().ok());
  (*own)->Fail(Unavailable("first"));
  (*own)->Fail(Unavailable("second"));
  FillZero(**own, a.data(), a.bytes());
  EXPECT_EQ(Message((*own)->Synchronize()), "first");
  EXPECT_EQ(ToHost<int>(a), std::vector<int>(4, 7));
}

TEST_F(CudaDevice, TimerMeasures) {
  auto timer = Timer::Create();
  ASSERT_TRUE(timer.ok());
  const Memory a = Zeros<int>(1 << 20);
  (*timer)->Start(stream());
  for (int i = 0; i < 4; ++i) FillZero(stream(), a.data(), a.bytes());
  (*timer)->Stop(stream());
  const auto seconds = (*timer)->Seconds();
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_GT(*seconds, 0.0);
  EXPECT_LT(*seconds, 10.0);
}

}  // namespace
}  // namespace folkmoot::cuda
