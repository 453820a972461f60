// SPDX-License-Identifier: Apache-2.0
// Wrong command lines, explained: names the culprit and suggests the nearest flag or command.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"

namespace folkmoot {

// One line for stderr.
std::string ExplainParseError(const CLI::App& app, const CLI::ParseError& error);

}  // namespace folkmoot
