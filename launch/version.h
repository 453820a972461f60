// SPDX-License-Identifier: Apache-2.0
// What this build calls itself. Ranks compare it before the first step.
#pragma once

#include <string>

namespace folkmoot {

std::string BuildVersion();  // "0.1.0 (Release, GNU 12.2.0)"

// A hash of the program file: two builds of one version differ in it.
std::string ProgramHash();

}  // namespace folkmoot
