// SPDX-License-Identifier: Apache-2.0
// Mapped files end a process that touches what is no longer there. This asks before.
#pragma once

#include <span>
#include <string_view>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/status.h"

namespace folkmoot {

// Can these bytes of the tensor be read? An error says which of which file cannot: it has become
// shorter since it was opened, or its disk fails. They are in memory afterwards. Where the kernel
// has no such question (Linux before 5.14), the answer is yes. `name`: of the tensor.
absl::Status CheckReadable(const TensorInfo& info, std::string_view name,
                           std::span<const std::byte> bytes);

}  // namespace folkmoot
