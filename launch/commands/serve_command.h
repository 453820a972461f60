// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "launch/command.h"

namespace folkmoot {

Command MakeServeCommand(CLI::App& app);

}  // namespace folkmoot
