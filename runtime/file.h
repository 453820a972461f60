// SPDX-License-Identifier: Apache-2.0
// Small files, read whole.
#pragma once

#include <optional>
#include <string>

#include "runtime/fault_points.h"
#include "runtime/status.h"

namespace folkmoot {

// Errors name the path: NotFound when there is no such file, FailedPrecondition when it is there
// and cannot be read.
absl::StatusOr<std::string> ReadFile(const std::string& path, FaultPoint point);
// The same; nullopt when there is no such file.
absl::StatusOr<std::optional<std::string>> ReadFileIfThere(const std::string& path,
                                                           FaultPoint point);

}  // namespace folkmoot
