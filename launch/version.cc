// SPDX-License-Identifier: Apache-2.0
#include "launch/version.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <fstream>
#include <iterator>

namespace folkmoot {

std::string BuildVersion() {
  return fmt::format("{} ({}, {})", FOLKMOOT_VERSION, FOLKMOOT_BUILD_TYPE, FOLKMOOT_COMPILER);
}

std::string ProgramHash() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  return fmt::format("{:016x}", XXH3_64bits(content.data(), content.size()));
}

}  // namespace folkmoot
