// SPDX-License-Identifier: Apache-2.0
// Steps on the wire: the structs of scheduler/step_plan.h to bytes and back (proto/step.proto). A
// plan travels in a frame with its epoch, step and a hash of all the rest, so that a rank can
// refuse one that is not the step it expects or was damaged on the way.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/status.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// `plan` overwrites `frame`, keeping its memory.
void EncodePlan(const StepPlan& plan, std::string* frame);

// What the rank that decodes a plan knows of it already.
struct ExpectedPlan {
  int64_t epoch = 0;
  int64_t step = 0;
  int ranks = 0;
  uint64_t placement_version = 0;
};

// Decodes a frame that must hold the expected plan. Errors say what differs.
absl::StatusOr<StepPlan> DecodePlan(std::string_view frame, const ExpectedPlan& expected);

std::string EncodeResult(const StepResult& result);
absl::StatusOr<StepResult> DecodeResult(std::string_view bytes);

}  // namespace folkmoot
