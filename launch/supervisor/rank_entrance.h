// SPDX-License-Identifier: Apache-2.0
// Where ranks come to the supervisor, and rank 0 to the front end: Unix sockets in a directory on
// one host, one TCP port across hosts. The supervisor alone listens at the latter, and hands
// connections on. Used by one thread; never waits.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/admission.h"
#include "launch/supervisor/frame_channel.h"
#include "runtime/status.h"

namespace folkmoot {

class RankEntrance {
 public:
  // `control_host`: empty: ranks are on this host. `directory`: of the sockets then.
  static absl::StatusOr<RankEntrance> Open(const std::string& directory,
                                           const std::string& control_host, int control_port);

  bool across_hosts() const { return admission_.has_value(); }
  // Across hosts: ADDRESS:PORT; else empty.
  const std::string& control() const { return control_; }

  // The token of the life that begins, in digits; empty on one host.
  std::string BeginLife(int64_t epoch);
  // Ends the connection between rank 0 and the front end, if it is ours to end.
  void EndLife();
  // The front end has ended, and its end of that connection with it.
  void FrontEndEnded() { plans_.Reset(); }

  // What to poll.
  void AppendTo(std::vector<pollfd>* fds) const;
  struct Arrival {
    FileDescriptor socket;
    pid_t process;  // 0: it may be on another host
  };
  // Ranks that have come to give signs of life.
  std::vector<Arrival> Arrivals(Admission::Time now);

  // In the front end's process, which is a copy of this one: where its connections come from.
  // Nothing else is left here.
  FileDescriptor BecomeFrontEnds();

 private:
  RankEntrance() = default;

  FileDescriptor listening_;         // on one host
  FileDescriptor front_end_source_;  // of connections, for the front end
  std::optional<Admission> admission_;
  std::string control_;
  FileDescriptor handoff_;
  FileDescriptor plans_;  // the front end's connection with rank 0, which it has too
};

}  // namespace folkmoot
