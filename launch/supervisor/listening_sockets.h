// SPDX-License-Identifier: Apache-2.0
// Which TCP ports a server has open, by /proc: nobody should find one that he does not know of.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace folkmoot {

struct ListeningSocket {
  pid_t process = 0;
  std::string program;  // its name, at most 15 characters
  std::string address;  // "0.0.0.0:1025", "[::1]:80"
  bool loopback = false;
};

// Of `root` and the processes that it and its children have started, in the network that we see.
// What the system does not let us look into is left out.
std::vector<ListeningSocket> ListeningSocketsOf(pid_t root);

// The processes of a server whose ports are known.
struct KnownListeners {
  pid_t supervisor = 0;  // the control port, at an address that the user knows
  pid_t front_end = 0;   // the API port
};
// Warns of each other one that other hosts can reach, except those of MPI launchers and their
// daemons, which cannot be told otherwise.
void WarnOfListeners(const KnownListeners& known);

}  // namespace folkmoot
