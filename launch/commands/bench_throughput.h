// SPDX-License-Identifier: Apache-2.0
// `folkmoot bench throughput`: tokens per second of prefill and decode, beside what the machine
// could do at best, and the share of a step that is not the model.
#pragma once

#include "launch/command.h"

namespace folkmoot {

Command MakeBenchThroughput(CLI::App& bench);

}  // namespace folkmoot
