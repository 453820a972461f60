// SPDX-License-Identifier: Apache-2.0
// For tests of the simulator itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/cuda/launch.h"
#include "runtime/cuda/sim/options.h"
#include "tests/runtime/cuda/cuda_testing.h"

namespace folkmoot::cuda {

class SimTest : public CudaTest {
 protected:
  void TearDown() override {
    sim::Options() = before_;
    CudaTest::TearDown();
  }
  // What a launch on a stream of its own fails with; empty when it does not.
  template <typename... P, typename... A>
  std::string FailureOf(const LaunchShape& shape, void (*kernel)(P...), A&&... arguments) {
    auto stream = Stream::Create();
    EXPECT_TRUE(stream.ok()) << stream.status();
    Launch(**stream, shape, kernel, std::forward<A>(arguments)...);
    const absl::Status status = (*stream)->Synchronize();
    return status.ok() ? std::string() : status.ToString();
  }
  // Calls `visit` under each of the orders 0 to `seeds` - 1.
  void ForSeeds(uint64_t seeds, const std::function<void(uint64_t)>& visit) {
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      sim::Options().seed = seed;
      visit(seed);
    }
    sim::Options() = before_;
  }

 private:
  sim::SimOptions before_ = sim::Options();
};

}  // namespace folkmoot::cuda
