// SPDX-License-Identifier: Apache-2.0
// `folkmoot bench serve`: sends requests to a running server, ours or another that speaks OpenAI's
// API, and measures what a client sees. Flags, table and result file are those of `vllm bench
// serve`, so that figures can be laid side by side. Needs neither a model nor MPI.
#pragma once

#include "launch/command.h"

namespace folkmoot {

// Adds the subcommand `serve` to `bench`. Run the command when its app was parsed.
Command MakeBenchServe(CLI::App& bench);

}  // namespace folkmoot
