// SPDX-License-Identifier: Apache-2.0
// How many compute threads a rank takes, from what there is: cores that it may use, the limit of
// its control group, and the ranks that share them.
#pragma once

#include <string>

namespace folkmoot {

// The compute threads of one rank.
struct ThreadBudget {
  int threads = 1;
  bool pin = false;  // each to a core of its own
  std::string why;   // "2 of 2 cores for 1 rank", for the ready line
};

// What a rank finds around it.
struct ThreadFacts {
  int online_cores = 1;
  int allowed_cores = 1;   // by affinity
  double quota_cores = 0;  // of the control group's CPU time (cpu.max); 0: no limit
  int ranks_on_host = 1;
  bool bound_by_launcher = false;  // each rank to cores of its own
};
ThreadFacts DetectThreadFacts();

// The least quota of a control group and those above it, in cores; 0 without a limit. `root` is
// /sys/fs/cgroup; `membership` the text of /proc/self/cgroup (version 2).
double CpuQuota(const std::string& root, const std::string& membership);

// `threads` and `pin` ("auto", "on", "off") as the flags say; 0 threads: cores / ranks. Ranks that
// the launcher bound have their cores for themselves; only those are pinned to by default, since
// ranks that share cores would stack up on the first ones.
ThreadBudget BudgetOf(const ThreadFacts& facts, int threads, const std::string& pin);

}  // namespace folkmoot
