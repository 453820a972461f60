// SPDX-License-Identifier: Apache-2.0
// folkmoot bench: one file per measurement.
#include <algorithm>
#include <vector>

#include "CLI/CLI.hpp"
#include "launch/commands/bench_a2a.h"
#include "launch/commands/bench_latency.h"
#include "launch/commands/bench_moe.h"
#include "launch/commands/bench_serve.h"
#include "launch/commands/bench_throughput.h"
#include "launch/commands/commands.h"

namespace folkmoot {

Command MakeBenchCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench", "measurements");
  command->require_subcommand(1);
  const std::vector<Command> benches = {MakeBenchThroughput(*command), MakeBenchLatency(*command),
                                        MakeBenchServe(*command), MakeBenchAllToAll(*command),
                                        MakeBenchMoe(*command)};
  return {.app = command, .run = [benches] {
            return std::find_if(benches.begin(), benches.end(),
                                [](const Command& bench) { return bench.app->parsed(); })
                ->run();
          }};
}

}  // namespace folkmoot
