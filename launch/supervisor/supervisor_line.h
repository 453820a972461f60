// SPDX-License-Identifier: Apache-2.0
// How a rank reaches its supervisor and, through it, the front end: Unix sockets on one host, TCP
// with a token across hosts.
#pragma once

#include "launch/supervisor/admission.h"
#include "launch/supervisor/engine_rank.h"
#include "launch/supervisor/frame_channel.h"
#include "parallel/communicator.h"
#include "runtime/status.h"

namespace folkmoot {

class SupervisorLine {
 public:
  // Collective across hosts: rank 0 reads the token from its standard input, which every launcher
  // passes on, and tells the others. `life` must outlive the line.
  static absl::StatusOr<SupervisorLine> Find(const EngineRankOptions& life, Communicator& world);

  absl::StatusOr<FileDescriptor> ForBeats() const;
  absl::StatusOr<FileDescriptor> ForPlans() const;

 private:
  explicit SupervisorLine(const EngineRankOptions& life) : life_(&life) {}

  const EngineRankOptions* life_;
  Token token_ = {};
};

// What comes from `fd` up to the end of a line, without it. An error: `most` bytes came without
// one, the end, or nothing within `timeout`.
absl::StatusOr<std::string> ReadLine(int fd, size_t most, std::chrono::milliseconds timeout);

}  // namespace folkmoot
