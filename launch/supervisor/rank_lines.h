// SPDX-License-Identifier: Apache-2.0
// The processes of an engine as its supervisor sees them: their connections, and who is which rank.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "launch/supervisor/control.h"
#include "launch/supervisor/frame_channel.h"

namespace folkmoot {

// The connection of a rank or a spare process.
struct RankLine {
  FrameChannel channel;
  pid_t process = 0;     // 0: not of this host, where alone it could be killed
  int number = -1;       // in the job; -1: it has not said, or another process is what it was
  int rank = -1;         // -1: none
  int64_t epoch = 0;     // 0: it has not said
  bool started = false;  // by the launcher of the life under way
  bool leaving = false;
  std::string host = {};    // its name; empty: this one
  int32_t far_process = 0;  // its number there

  std::string Name() const;  // "rank 2 (pid 812)"
  // Where it says that it is.
  void SetPlace(const RankHello& hello, bool across_hosts);
  // One on another host ends when it hears that nobody listens to it; one that hears nothing there
  // is ended by the launcher's daemon, when the launcher is gone.
  void Kill() const;
};

class RankLines {
 public:
  // Another job: the process with number r is rank r, in this life and later ones.
  void Begin(int ranks, int64_t epoch);
  // The life that the job began with.
  int64_t first_epoch() const { return first_epoch_; }

  std::vector<RankLine>& all() { return lines_; }
  const std::vector<RankLine>& all() const { return lines_; }
  int ranks() const;      // that have come
  size_t spares() const;  // the same
  bool leaving() const;   // all ranks that are here

  // The spare processes with the lowest numbers, of which there are enough, are these ranks in life
  // `epoch` and later.
  void Replace(const std::vector<int>& dead, int64_t epoch);
  // Tells all ranks of the life who is who, each within `patience`. False: one did not hear it.
  bool Announce(std::chrono::milliseconds patience);

  // These ranks, or every process: they may have left the launcher's group.
  void Kill(const std::vector<int>& ranks) const;
  void KillAll() const;

  std::vector<std::string> Names() const;
  // Those on other hosts are none of ours any more; their names.
  std::vector<std::string> ForgetFar();

 private:
  std::vector<RankLine> lines_;
  int64_t first_epoch_ = 0;
  RepairOrder group_;  // who is which rank, since when
};

}  // namespace folkmoot
