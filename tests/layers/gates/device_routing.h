// SPDX-License-Identifier: Apache-2.0
// A step's rows as the device gets them, and what it decides for them.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/gpu/device_gate.h"
#include "runtime/cuda/device.h"
#include "tests/layers/gates/gate_testing.h"

namespace folkmoot {

// What a gate decides, with everything that the layer reads.
struct RoutedRows {
  std::vector<int32_t> expert, place;
  std::vector<float> weight;
  std::vector<uint8_t> state, action, bad;

  bool operator==(const RoutedRows&) const = default;
};

// Counters of sequence chunks by sequence, and those at page ends.
struct RoutedCounters {
  std::vector<std::vector<int32_t>> taken;  // [sequences] of [E], or empty: zeros
  int page_size = 0;                        // 0: no pages
  // [sequences] of [pages of the sequence] of [E]; -1 where none was written.
  std::vector<std::vector<std::vector<int32_t>>> pages;
};

// rows.sequences must be set, but for their counters, which come from and go to `counters`. A row
// with valid = 0 is padding.
RoutedRows RouteOnHost(const GateConfig& config, const GateRows& rows, RoutedCounters* counters);

// `padding` rows more are launched than there are. places = false: as a dropless step that nobody
// asked for places.
struct DeviceRun {
  int padding = 0;
  bool places = true;
};
RoutedRows RouteOnDevice(cuda::Stream& stream, const GateConfig& config, const GateRows& rows,
                         const DeviceRun& run, RoutedCounters* counters);

}  // namespace folkmoot
