// SPDX-License-Identifier: Apache-2.0
// The list of subcommands.
#pragma once

#include "launch/command.h"

namespace folkmoot {

Command MakeGenerateCommand(CLI::App& app);
Command MakeScoreCommand(CLI::App& app);
Command MakeRouteCommand(CLI::App& app);
Command MakeInspectCommand(CLI::App& app);
Command MakeVerifyCommand(CLI::App& app);
Command MakeBenchCommand(CLI::App& app);
Command MakeDoctorCommand(CLI::App& app);

}  // namespace folkmoot
