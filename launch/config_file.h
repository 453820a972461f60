// SPDX-License-Identifier: Apache-2.0
// Settings from outside the command line: FOLKMOOT_* variables and --config FILE.yaml, whose keys
// are the long flags without dashes. The command line wins over the environment, and the
// environment over the file.
#pragma once

#include <string>
#include <vector>

#include "runtime/status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace folkmoot {

// The variable of a flag, without dashes in front: FOLKMOOT_MAX_TOKENS of max-tokens.
std::string VariableOf(const std::string& flag);

// Adds --config to a command and a variable to each of its flags.
void AddEnvironmentAndConfig(CLI::App& command);

// `arguments` (without the program's name) with the settings of --config FILE added as flags, where
// neither the command line nor the environment has them. An unknown key is an error that names
// file, key and the nearest flag.
absl::StatusOr<std::vector<std::string>> ExpandConfigFile(const CLI::App& app,
                                                          std::vector<std::string> arguments);

}  // namespace folkmoot
