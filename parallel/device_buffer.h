// SPDX-License-Identifier: Apache-2.0
// Device memory that grows to the largest use.
#pragma once

#include <cstdint>
#include <utility>

#include "runtime/cuda/device.h"
#include "runtime/status.h"

namespace folkmoot {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(const char* what) : what_(what) {}

  bool Fits(int64_t bytes) const { return bytes <= memory_.bytes(); }
  // What was in it is lost. The caller knows that the device is done with it.
  absl::Status Grow(int64_t bytes) {
    memory_ = {};  // first, so that both need not fit
    FM_ASSIGN_OR_RETURN(memory_, cuda::Memory::Allocate(bytes, what_));
    return absl::OkStatus();
  }
  template <typename T = void>
  T* As() const {
    return static_cast<T*>(memory_.data());
  }

 private:
  const char* what_ = "";
  cuda::Memory memory_;
};

}  // namespace folkmoot
