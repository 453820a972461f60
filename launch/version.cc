// SPDX-License-Identifier: Apache-2.0
#include "launch/version.h"

#include <fmt/format.h>

namespace folkmoot {

std::string BuildVersion() {
  return fmt::format("{} ({}, {})", FOLKMOOT_VERSION, FOLKMOOT_BUILD_TYPE, FOLKMOOT_COMPILER);
}

}  // namespace folkmoot
