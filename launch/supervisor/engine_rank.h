// SPDX-License-Identifier: Apache-2.0
// A rank of a supervised engine: loads its part of the model, then computes what the front end
// plans. When another rank dies and a spare process takes its place, those that live go on with
// weights, keys and values, and forget their sequences, which the front end begins again.
#pragma once

#include <string>

#include "launch/engine_options.h"
#include "launch/launcher.h"
#include "launch/supervisor/frame_channel.h"

namespace folkmoot {

// How the supervisor starts a rank.
struct EngineRankOptions {
  std::string directory;  // of the sockets; empty: not supervised
  // Across hosts: where the supervisor listens, ADDRESS:PORT; rank 0 reads the token from standard
  // input. Empty: at the sockets in the directory.
  std::string control;
  int64_t epoch = 0;
};

// The sockets in the directory.
std::string RankSocket(const std::string& directory);    // of the supervisor
std::string EngineSocket(const std::string& directory);  // of the front end

// A connection to the supervisor on this host, before anything that another process takes part in:
// who ends then is missed at once, also where the launcher says nothing of it.
absl::StatusOr<FileDescriptor> CallSupervisor(const EngineRankOptions& start);

// Collective over the cluster. Returns when the front end shuts the engine down, or with the error
// that ended it; in a spare process not before it has become a rank. `supervisor`: from
// CallSupervisor, or closed: it is called when the ranks know each other.
absl::Status ServeSteps(const EngineOptions& options, const EngineRankOptions& start,
                        FileDescriptor supervisor, Cluster& cluster);

}  // namespace folkmoot
