// SPDX-License-Identifier: Apache-2.0
// What tests of device code share.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "runtime/cuda/device.h"

namespace folkmoot::cuda {

// A test that has a stream. Over CUDA it is skipped, loudly, where there is no GPU.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = ListDevices();
    if (!devices.ok()) {
      std::printf("SKIPPED: no GPU: %s\n", devices.status().ToString().c_str());
      GTEST_SKIP() << "no GPU: " << devices.status();
    }
    auto stream = Stream::Create();
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = std::move(*stream);
  }
  void TearDown() override {
    if (stream_ == nullptr) return;
    EXPECT_TRUE(stream_->Synchronize().ok()) << stream_->status();
  }
  Stream& stream() { return *stream_; }

  template <typename T>
  Memory ToDevice(const std::vector<T>& values) {
    auto memory = Memory::Allocate(static_cast<int64_t>(values.size() * sizeof(T)), "a test");
    EXPECT_TRUE(memory.ok()) << memory.status();
    CopyToDevice(stream(), memory->data(), values.data(), memory->bytes());
    return std::move(*memory);
  }
  template <typename T>
  Memory Zeros(size_t count) {
    return ToDevice(std::vector<T>(count));
  }
  template <typename T>
  std::vector<T> ToHost(const Memory& memory) {
    std::vector<T> values(static_cast<size_t>(memory.bytes()) / sizeof(T));
    CopyToHost(stream(), values.data(), memory.data(), memory.bytes());
    EXPECT_TRUE(stream().Synchronize().ok()) << stream().status();
    return values;
  }

 private:
  std::unique_ptr<Stream> stream_;
};

}  // namespace folkmoot::cuda
