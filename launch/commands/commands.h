// SPDX-License-Identifier: Apache-2.0
// The list of subcommands. Those that tests also call in parts have a header of their own.
#pragma once

#include "launch/command.h"
#include "launch/commands/doctor_command.h"
#include "launch/commands/inspect_command.h"
#include "launch/commands/route_command.h"
#include "launch/commands/serve_command.h"

namespace folkmoot {

Command MakeGenerateCommand(CLI::App& app);
Command MakeScoreCommand(CLI::App& app);
Command MakePackCommand(CLI::App& app);
Command MakeQuantizeCommand(CLI::App& app);
Command MakeVerifyCommand(CLI::App& app);
Command MakeBenchCommand(CLI::App& app);

}  // namespace folkmoot
