// SPDX-License-Identifier: Apache-2.0
// A subcommand of the folkmoot binary. Each lives in launch/commands/<name>_command.cc and is
// listed in launch/commands/commands.h; main() parses the line and runs the one that was named.
#pragma once

#include <functional>

#include "runtime/status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace folkmoot {

struct Command {
  CLI::App* app = nullptr;
  // Runs after parsing. An error is printed to stderr and ends the process with status 1, or with 2
  // when it is kInvalidArgument made by UsageError (the command line itself is wrong).
  std::function<absl::Status()> run;
};

// An error of usage: exit status 2.
absl::Status UsageError(std::string_view message);
bool IsUsageError(const absl::Status& status);
// The same error without its text: it ends the process and is not printed again.
absl::Status AlreadySaid(const absl::Status& status);

}  // namespace folkmoot
