// SPDX-License-Identifier: Apache-2.0
// A GateConfig for the device: what runtime/cuda/routing.h carries out, and why it cannot carry out
// some gates, which are then routed on the host with the same results.
#pragma once

#include <cstdint>
#include <string>

#include "layers/gates/gate_config.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/routing.h"
#include "runtime/status.h"

namespace folkmoot {

// Why the gate has to be routed on the host, as a clause ("overflow=reroute looks for ..."); empty:
// the device can. `ranks` share the tokens of a step; token ids are below `vocabulary`.
std::string WhyNotOnDevice(const GateConfig& config, int ranks, int64_t vocabulary);

// A gate's parameters and vectors on the device. The config must be valid and one that
// WhyNotOnDevice has nothing against. Must not outlive the device's last use of it.
class DeviceGate {
 public:
  DeviceGate() = default;
  // For steps of up to max_rows rows. Waits for the stream.
  static absl::StatusOr<DeviceGate> Create(cuda::Stream& stream, const GateConfig& config,
                                           int64_t max_rows);

  // For model layer `layer`. Biases of the layer's own weights replace those of the config: set
  // them in the result.
  cuda::RoutingParams Params(int layer) const;

 private:
  cuda::RoutingParams params_;
  cuda::Memory vectors_;
};

}  // namespace folkmoot
