// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "launch/commands/bench_a2a.h"
#include "launch/launcher.h"

namespace folkmoot {
namespace {

struct ExchangeOptions {
  BenchA2aOptions bench;
  int experts = 64;
  std::string placement = "contiguous";
  std::string dispatcher = "auto";
  int64_t timeout_ms = 60000;
};

absl::Status RunExchange(const ExchangeOptions& options) {
  EngineOptions engine;
  engine.timeout_ms = options.timeout_ms;
  engine.dispatcher = options.dispatcher;
  return RunOnRanks(engine, [&](Cluster& cluster) -> absl::Status {
    FM_ASSIGN_OR_RETURN(
        const ExpertPlacement placement,
        ExpertPlacement::Parse(options.placement, options.experts, cluster.world().size()));
    BenchA2aOptions bench = options.bench;
    bench.dispatcher = DispatcherOf(engine);
    return RunBenchAllToAll(cluster.world(), placement, bench, std::cout);
  });
}

}  // namespace

Command MakeBenchAllToAll(CLI::App& bench) {
  auto options = std::make_shared<ExchangeOptions>();
  CLI::App* command =
      bench.add_subcommand("a2a", "dispatch and combine between ranks, without the experts");
  command->add_option("--tokens", options->bench.tokens, "tokens per rank: 1,8,64,512")
      ->delimiter(',');
  command->add_option("--hidden", options->bench.hidden, "floats per token: 1024,4096")
      ->delimiter(',');
  command->add_option("--top-k", options->bench.top_k, "experts per token: 2,8")->delimiter(',');
  command->add_option("--experts", options->experts, "experts over all ranks")
      ->check(CLI::PositiveNumber);
  command->add_option("--iterations", options->bench.iterations, "round trips per line")
      ->check(CLI::PositiveNumber);
  command->add_option("--expert-placement-strategy,--expert-placement", options->placement,
                      "contiguous, round_robin, or a JSON file");
  AddDispatcherFlag(*command, &options->dispatcher);
  command->add_option("--timeout-ms", options->timeout_ms, "deadline of every wait")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->bench.json, "print one JSON object");
  return {.app = command, .run = [options] { return RunExchange(*options); }};
}

}  // namespace folkmoot
