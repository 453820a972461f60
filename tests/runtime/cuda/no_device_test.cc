// SPDX-License-Identifier: Apache-2.0
// What a machine without GPUs, driver or libraries is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/error.h"
#include "runtime/cuda/libraries.h"

namespace folkmoot::cuda {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What people see on a machine without a driver: the CUDA build, here or on any CPU machine.
TEST(CudaWithoutDriver, SaysWhatIsMissing) {
  if (DriverVersion() != 0) {
    std::printf("SKIPPED: not tested: the %s has a driver\n", BackendName());
    GTEST_SKIP() << "this machine or back end has a driver";
  }
  EXPECT_GE(RuntimeVersion(), 12020);
  const auto devices = ListDevices();
  ASSERT_FALSE(devices.ok());
  EXPECT_TRUE(absl::IsUnavailable(devices.status()));
  EXPECT_THAT(std::string(Message(devices.status())),
              AllOf(HasSubstr("no NVIDIA driver"), HasSubstr("--device cpu")));
  EXPECT_FALSE(Stream::Create().ok());
  EXPECT_FALSE(Memory::Allocate(16, "a test").ok());
  EXPECT_FALSE(UseDevice(0).ok());
  EXPECT_FALSE(Timer::Create().ok());
}

TEST(CudaErrors, EachReasonHasItsRemedy) {
  const auto text = [](cudaError_t error, int driver, int runtime) {
    const absl::Status status = NoDevices(error, driver, runtime);
    EXPECT_TRUE(absl::IsUnavailable(status));
    return std::string(Message(status));
  };
  EXPECT_THAT(text(cudaErrorInsufficientDriver, 0, 13000), HasSubstr("no NVIDIA driver is loaded"));
  EXPECT_THAT(text(cudaErrorInsufficientDriver, 11080, 13000),
              HasSubstr("too old: it knows CUDA 11.8, this program was built with 13.0"));
  EXPECT_THAT(text(cudaErrorNoDevice, 13000, 13000), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(text(cudaErrorSystemDriverMismatch, 13000, 13000), HasSubstr("no GPU can be used"));
  EXPECT_TRUE(CudaStatus(cudaSuccess, "nothing").ok());
  EXPECT_THAT(CudaStatus(cudaErrorInvalidDevice, "choosing GPU 9").ToString(),
              HasSubstr("choosing GPU 9: invalid device ordinal (cudaErrorInvalidDevice)"));
}

TEST(GpuLibraries, NamesThemAllFoundOrNot) {
  const std::vector<GpuLibrary> libraries = FindGpuLibraries();
  ASSERT_EQ(libraries.size(), 3U);
  for (const GpuLibrary& library : libraries) EXPECT_FALSE(library.detail.empty()) << library.name;
}

}  // namespace
}  // namespace folkmoot::cuda
