// SPDX-License-Identifier: Apache-2.0
// A check of the exchanges of one rank on a device, simulated or real, against what every rank can
// compute for itself: device memory is only touched by kernels and copies.
#pragma once

#include "parallel/nccl_communicator.h"

namespace folkmoot {

struct DeviceExchangeReport {
  int launches = 0;     // of the recorded layer
  double fixed_us = 0;  // of the recorded layer (dispatch, experts, combine), by the device's clock
  double exact_us = 0;  // of the same with exact sizes, by the host's clock
};

// Collective: blocks of every kind of exchange, then a MoE layer in fixed sizes from one recorded
// graph with changing rows, and in exact sizes with rows that differ from rank to rank. The error
// says what differed.
absl::StatusOr<DeviceExchangeReport> CheckDeviceExchange(NcclCommunicator& comm,
                                                         cuda::Stream& stream, int64_t hidden);

}  // namespace folkmoot
