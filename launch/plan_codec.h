// SPDX-License-Identifier: Apache-2.0
// Steps on the wire: the structs of scheduler/step_plan.h to bytes and back (proto/step.proto). A
// plan travels in a frame with its epoch, step and a hash, so that a rank can refuse one that is
// not the step it expects or was damaged on the way.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/status.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// `plan` overwrites `frame`, keeping its memory.
void EncodePlan(const StepPlan& plan, std::string* frame);

// Decodes a frame that must hold step `step` of `epoch`, for `ranks` ranks. Errors say what
// differs.
absl::StatusOr<StepPlan> DecodePlan(std::string_view frame, int64_t epoch, int64_t step, int ranks);

std::string EncodeResult(const StepResult& result);
absl::StatusOr<StepResult> DecodeResult(std::string_view bytes);

}  // namespace folkmoot
