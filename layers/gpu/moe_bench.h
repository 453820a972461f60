// SPDX-License-Identifier: Apache-2.0
// Times the MoE layer of a GPU decoder by itself: norm, router, gate, experts and combine of
// `tokens` random tokens, as the decoder starts them, with random weights, replayed as a graph.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "layers/gates/gate_config.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/probe.h"
#include "runtime/dtype.h"
#include "runtime/status.h"

namespace folkmoot {

struct MoeBenchShape {
  std::string name;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t shared_intermediate = 0;  // 0: no shared expert
  GateConfig gate;                  // names experts and top_k
};

struct MoeBenchOptions {
  MoeBenchShape shape;
  std::vector<int> tokens;
  DType dtype = DType::kBF16;
  bool fp8_experts = false;  // as codes
  bool batch_invariant = false;
  int device = 0;
  double seconds = 0.2;  // of measurement per line, about
};

struct MoeBenchPoint {
  int tokens = 0;
  double seconds = 0;  // of one layer, mean
  double touched = 0;  // experts that had a token, mean over the layers measured
  double bytes = 0;    // weights of those, of router and shared expert, and the rows in and out
  double flops = 0;    // of router, experts and shared expert
  double kernels = 0;  // per layer
};

struct MoeBenchReport {
  std::string device;
  int layers = 0;  // measured in turn, so that weights do not come from the cache
  // What this device reached just now (runtime/cuda/probe.h; the rate of float32 is that of a large
  // dense product).
  double read_bytes_per_second = 0;
  double flops_per_second = 0;
  std::vector<MoeBenchPoint> points;
};

// How much to probe with: little on the simulator.
struct ProbeSizes {
  int64_t bytes = int64_t{1} << 30;
  int steps = 4096;
};
ProbeSizes ProbeSizesHere();
// The fastest that the device has.
cuda::MatrixUnit MatrixUnitOf(const cuda::DeviceInfo& device);

absl::StatusOr<MoeBenchReport> RunMoeBench(const MoeBenchOptions& options);

}  // namespace folkmoot
