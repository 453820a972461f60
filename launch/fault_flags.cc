// SPDX-License-Identifier: Apache-2.0
#include "launch/fault_flags.h"

#include <fmt/format.h>

#include <cstdio>

#include "CLI/CLI.hpp"
#include "launch/command.h"

namespace folkmoot {
namespace {

std::string PlanHelp() {
  std::string names;
  for (const FaultPointInfo& point : FaultPoints()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", point.name);
  }
  return fmt::format(
      "faults on purpose, to see what happens: kill, stop, delay, corrupt, drop between ranks, as "
      "in 'kill:rank=2,step=40,layer=3;delay:rank=0,step=9,ms=500'; fail, enospc, short-read, "
      "kill, stop, delay at the nth call of a point, as in 'enospc:at=journal.write,nth=3', in "
      "every process or that of process=supervisor, front-end, rank or rank=N; epoch=N: in that "
      "life of the engine or front end (1; 0: every one); 'count' prints how often points were "
      "reached. Points: {}",
      names);
}

}  // namespace

void AddFaultFlags(CLI::App& app, FaultFlags* flags) {
  app.add_option("--fault", flags->plan, PlanHelp());
  app.add_flag("--unsafe-faults", flags->unsafe, "I mean it: needed for --fault");
}

absl::StatusOr<std::vector<Fault>> ReadFaults(const FaultFlags& flags) {
  if (flags.plan.empty()) return std::vector<Fault>();
  if (!flags.unsafe) {
    return UsageError("--fault breaks the program on purpose: it needs --unsafe-faults");
  }
  absl::StatusOr<std::vector<Fault>> plan = ParseFaultPlan(flags.plan);
  if (!plan.ok()) return UsageError(fmt::format("--fault: {}", Message(plan.status())));
  return plan;
}

absl::Status ArmFaults(const FaultFlags& flags, const FaultSite& site) {
  FM_ASSIGN_OR_RETURN(const std::vector<Fault> plan, ReadFaults(flags));
  if (!plan.empty()) PlanPointFaults(PointFaultsOf(plan, site));
  return absl::OkStatus();
}

void PrintFaultCounts(const FaultFlags& flags, const FaultSite& site) {
  const absl::StatusOr<std::vector<Fault>> plan = ReadFaults(flags);
  if (!plan.ok() || !Counts(*plan)) return;
  static constexpr const char* kNames[] = {"any", "supervisor", "front-end", "rank"};
  const std::string process = kNames[static_cast<int>(site.process)];
  const std::string who =
      site.process == FaultProcess::kRank ? fmt::format("{}={}", process, site.rank) : process;
  fmt::print(stderr, "folkmoot: fault points reached: {} epoch={} {}\n", who, site.epoch,
             FaultCounts());
}

}  // namespace folkmoot
