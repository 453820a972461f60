// SPDX-License-Identifier: Apache-2.0
// What the API needs of an engine: EngineService in the server, a fake in tests.
#pragma once

#include <cstdint>

#include "launch/engine_service.h"
#include "runtime/status.h"
#include "scheduler/request.h"

namespace folkmoot {

class EnginePort {
 public:
  virtual ~EnginePort() = default;
  // As the methods of EngineService.
  virtual absl::Status Submit(int64_t id, Request request) = 0;
  virtual void Cancel(int64_t id) = 0;
  virtual void CancelChoice(int64_t id, int32_t choice) = 0;
  virtual EngineSnapshot Snapshot() const = 0;
};

}  // namespace folkmoot
