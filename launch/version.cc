// SPDX-License-Identifier: Apache-2.0
#include "launch/version.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <fstream>

namespace folkmoot {
namespace {

std::string HashOfProgram() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  std::string block(size_t{1} << 20, '\0');
  uint64_t hash = 0;
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    hash = XXH3_64bits_withSeed(block.data(), static_cast<size_t>(file.gcount()), hash);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

std::string BuildVersion() {
  return fmt::format("{} ({}, {})", FOLKMOOT_VERSION, FOLKMOOT_BUILD_TYPE, FOLKMOOT_COMPILER);
}

std::string ProgramHash() {
  static const std::string kHash = HashOfProgram();
  return kHash;
}

}  // namespace folkmoot
