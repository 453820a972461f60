// SPDX-License-Identifier: Apache-2.0
// The process above the others: it starts the front end and the engine, watches the ranks, ends an
// engine that has failed, all of it, and starts another. It has no model, no MPI and one thread.
//
//   supervisor -+- front end: HTTP, tokenizer, scheduler
//               +- launcher (mpirun) - ranks: the engine
//
// The front end keeps what clients have been told, so the next engine goes on from there.
#pragma once

#include <functional>
#include <string>

#include "launch/supervisor/engine_job.h"
#include "launch/supervisor/frame_channel.h"
#include "launch/supervisor/front_end_watch.h"
#include "launch/supervisor/rank_watch.h"
#include "runtime/status.h"

namespace folkmoot {

struct SupervisorOptions {
  EngineJobOptions engine;
  WatchLimits limits;
  FrontEndLimits front_end_limits;
  bool exit_on_engine_failure = false;  // else the front end stays, and refuses
  // With ranks on other hosts: the address, of this host, at which they find the supervisor, and
  // its port (0: any). Empty: all ranks are on this host.
  std::string control_host;
  int control_port = 0;
};

// What the front end's process is given.
struct FrontEndLink {
  FileDescriptor engine;  // where rank 0 will connect
  FileDescriptor news;    // EngineNews come from here, FrontEndBeats go there
  int64_t life = 1;       // of the front end
};
// The body of that process. Returns its exit status.
using FrontEndBody = std::function<int(FrontEndLink link)>;

// Returns the exit status when the front end has ended, or when there is no point in going on. An
// error: it could not begin.
absl::StatusOr<int> Supervise(const SupervisorOptions& options, const FrontEndBody& front_end);

}  // namespace folkmoot
