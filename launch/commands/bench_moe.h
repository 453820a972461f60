// SPDX-License-Identifier: Apache-2.0
// `folkmoot bench moe`: one MoE layer of a known shape on the GPU, with random weights, beside what
// this GPU can do at best.
#pragma once

#include "launch/command.h"

namespace folkmoot {

Command MakeBenchMoe(CLI::App& bench);

}  // namespace folkmoot
