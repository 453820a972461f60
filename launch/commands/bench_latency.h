// SPDX-License-Identifier: Apache-2.0
// `folkmoot bench latency`: how long a batch of equal requests takes, start to end. The measure,
// the options and the JSON keys of `vllm bench latency`.
#pragma once

#include "launch/command.h"

namespace folkmoot {

Command MakeBenchLatency(CLI::App& bench);

}  // namespace folkmoot
