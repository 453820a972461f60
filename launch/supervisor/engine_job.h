// SPDX-License-Identifier: Apache-2.0
// One life of the engine: an MPI job, and where it leaves its traces.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "launch/supervisor/engine_hosts.h"
#include "runtime/status.h"

namespace folkmoot {

struct EngineJobOptions {
  int ranks = 1;
  int spares = 0;                         // further processes, to take the place of dead ranks
  std::string launcher = "mpirun";        // with arguments, if any; it is given -n N
  std::vector<std::string> rank_command;  // `folkmoot serve MODEL ...`, as the user gave it
  EngineHosts hosts;                      // none: this one
};

// The user's command line as one for ranks: without keys, which are none of their business, and
// without what makes it a supervisor's.
std::vector<std::string> RankCommand(const std::vector<std::string>& words);

class EngineJob {
 public:
  // `directory`: of the sockets.
  EngineJob(EngineJobOptions options, std::string directory);
  ~EngineJob();
  EngineJob(const EngineJob&) = delete;
  EngineJob& operator=(const EngineJob&) = delete;

  // Not while another life runs. `control`: where ranks on other hosts find the supervisor,
  // ADDRESS:PORT, and `token` what rank 0 gets on its standard input; empty: all are on this host.
  absl::Status Start(int64_t epoch, const std::string& control = "", const std::string& token = "");
  // Kills the launcher and what it started, as far as that is in its process group. mpirun's
  // daemons end with it; another launcher is asked to end first (srun would leave tasks on other
  // hosts), and killed when it is told again.
  void Kill();
  // The launcher has been waited for, or nobody waits for it any more: removes what the life has
  // left behind.
  void Ended();

  bool running() const { return launcher_ > 0; }
  pid_t launcher() const { return launcher_; }  // -1: none
  int ranks() const { return options_.ranks; }
  int spares() const { return options_.spares; }
  const std::vector<std::string>& hosts() const { return options_.hosts.names; }

 private:
  std::vector<std::string> Command(int64_t epoch, const std::string& control) const;

  EngineJobOptions options_;
  std::string directory_;
  std::string scratch_;  // files of the launcher and the ranks in this life
  std::string shared_;   // their shared memory; empty: wherever they like
  pid_t launcher_ = -1;
  bool asked_ = false;  // to end
};

}  // namespace folkmoot
