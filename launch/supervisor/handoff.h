// SPDX-License-Identifier: Apache-2.0
// Connections that the supervisor has admitted and the front end uses: descriptors go over a pair
// of Unix sockets. So the front end, which is confined, never meets a stranger.
#pragma once

#include <utility>

#include "launch/supervisor/frame_channel.h"
#include "runtime/status.h"

namespace folkmoot {

// The supervisor's end and the front end's. The latter is readable when a connection has come.
absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> MakeHandoff();

// Gives the front end its own descriptor for the connection. Never waits.
absl::Status HandOff(int handoff, int connection);

// The next connection from `source`, the front end's end of a handoff or a socket that listens for
// processes of this user; kNotFound: none has come.
absl::StatusOr<FileDescriptor> NextConnection(int source);

}  // namespace folkmoot
