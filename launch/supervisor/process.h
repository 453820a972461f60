// SPDX-License-Identifier: Apache-2.0
// Child processes of the supervisor. They die with it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// Variables with the values that they get; nullopt: they are removed.
using EnvironmentChanges = std::vector<std::pair<std::string, std::optional<std::string>>>;

// Starts a program in a process group of its own, with `input`, at most 4096 bytes, on its standard
// input.
absl::StatusOr<pid_t> StartProgram(const std::vector<std::string>& command,
                                   const EnvironmentChanges& environment,
                                   std::string_view input = {});

// Runs `body` in a copy of this process, which must have one thread; it exits with the returned
// status.
absl::StatusOr<pid_t> StartCopy(const std::function<int()>& body);

// The process that started this one; 0: nobody, it has ended.
pid_t ParentOf(pid_t process);

// What waitpid says, in words: "exited with status 1", "was killed by signal 9 (Killed)".
std::string DescribeExit(int wait_status);

// The words of the command line that started this process.
absl::StatusOr<std::vector<std::string>> OwnCommandLine();

}  // namespace folkmoot
