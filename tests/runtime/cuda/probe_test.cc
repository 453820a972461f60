// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/probe.h"

#include <gtest/gtest.h>

#include <string_view>

#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {
namespace {

class CudaProbe : public CudaTest {
 protected:
  bool simulated() const { return std::string_view(BackendName()) == "simulator"; }
  // A rate is finite and positive everywhere; on a GPU it has a size that a wrong count of bytes or
  // operations would miss.
  void Expect(const absl::StatusOr<double>& rate, double low, double high) {
    ASSERT_TRUE(rate.ok()) << rate.status();
    EXPECT_GT(*rate, simulated() ? 0.0 : low);
    EXPECT_LT(*rate, high);
    RecordProperty("rate", std::to_string(*rate));
    std::printf("%.3e\n", *rate);
  }
};

TEST_F(CudaProbe, ReadBandwidth) {
  Expect(ProbeReadBandwidth(stream(), simulated() ? 1'000'016 : int64_t{1} << 30, 3), 2e11, 1e13);
}

TEST_F(CudaProbe, MatrixRateOfWarps) {
  const int steps = simulated() ? 8 : 40'000;
  Expect(ProbeMatrixRate(stream(), MatrixUnit::kWarp, DType::kBF16, steps, 2), 1e13, 3e15);
  Expect(ProbeMatrixRate(stream(), MatrixUnit::kWarp, DType::kF16, steps, 2), 1e13, 3e15);
}

TEST_F(CudaProbe, MatrixRateOfWarpgroups) {
  const int steps = simulated() ? 8 : 4'000;
  const auto rate = ProbeMatrixRate(stream(), MatrixUnit::kWarpgroup, DType::kBF16, steps, 2);
  if (stream().device().compute_capability != 90) {
    EXPECT_TRUE(absl::IsFailedPrecondition(rate.status())) << rate.status();
    return;
  }
  Expect(rate, 1e14, 3e15);
  Expect(ProbeMatrixRate(stream(), MatrixUnit::kWarpgroup, DType::kF16, steps, 2), 1e14, 3e15);
}

TEST_F(CudaProbe, KernelGap) {
  const auto gap = ProbeKernelGap(stream(), 20, 3);
  ASSERT_TRUE(gap.ok()) << gap.status();
  EXPECT_GT(*gap, 0.0);
  EXPECT_LT(*gap, 1e-3);
}

}  // namespace
}  // namespace folkmoot::cuda
