// SPDX-License-Identifier: Apache-2.0
// All commands and flags as Markdown: docs/configuration.md is what this returns.
#pragma once

#include <string>

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace folkmoot {

// `app` with all its commands, their variables (AddEnvironmentAndConfig) and their defaults
// captured. Flags that several commands share are listed once.
std::string FlagReference(const CLI::App& app);

}  // namespace folkmoot
