// SPDX-License-Identifier: Apache-2.0
// A rank of a supervised engine: loads its part of the model, then computes what the front end
// plans.
#pragma once

#include <string>

#include "launch/engine_options.h"
#include "launch/launcher.h"

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

// Collective over the cluster. Returns when the front end shuts the engine down, or with the error
// that ended it.
absl::Status ServeSteps(const EngineOptions& options, const EngineRankOptions& life,
                        Cluster& cluster);

}  // namespace folkmoot
