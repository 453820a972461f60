// SPDX-License-Identifier: Apache-2.0
// model.safetensors.index.json: which shard holds which tensor.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

// Tensor name -> file name. A file name is a plain name: no folder, no "..", so an index cannot
// reach out of its directory.
absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view file,
                                                                   std::string_view json);

}  // namespace folkmoot
