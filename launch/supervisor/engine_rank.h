// SPDX-License-Identifier: Apache-2.0
// A rank of a supervised engine: loads its part of the model, then computes what the front end
// plans. When another rank dies and a spare process takes its place, those that live go on with
// weights, keys and values, and forget their sequences, which the front end begins again.
#pragma once

#include <string>
#include <vector>

#include "launch/engine_options.h"
#include "launch/launcher.h"
#include "launch/supervisor/frame_channel.h"

namespace folkmoot {

// How the supervisor starts a rank.
struct EngineRankOptions {
  std::string directory;  // of the sockets; empty: not supervised
  int64_t epoch = 0;
  std::vector<Fault> faults;  // of all ranks and lives
};

// The sockets in the directory.
std::string RankSocket(const std::string& directory);    // of the supervisor
std::string EngineSocket(const std::string& directory);  // of the front end

// The line to the supervisor, before anything that another rank takes part in: who ends then is
// missed at once.
absl::StatusOr<FileDescriptor> CallSupervisor(const EngineRankOptions& start);

// Collective over the cluster. Returns when the front end shuts the engine down, or with the error
// that ended it; in a spare process not before it has become a rank.
absl::Status ServeSteps(const EngineOptions& options, const EngineRankOptions& start,
                        FileDescriptor line, Cluster& cluster);

}  // namespace folkmoot
