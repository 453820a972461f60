// SPDX-License-Identifier: Apache-2.0
// Wrong command lines, explained: names the culprit and suggests the nearest flag or command.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
class ParseError;
}  // namespace CLI

namespace folkmoot {

// One line for stderr.
std::string ExplainParseError(const CLI::App& app, const CLI::ParseError& error);

}  // namespace folkmoot
