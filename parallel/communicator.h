// SPDX-License-Identifier: Apache-2.0
// How the ranks of a group talk: one primitive, a non-blocking exchange of byte ranges with every
// peer, and the usual collectives as functions over it.
//
// Every wait has a deadline and a name. When a peer does not answer in time, or is known to be
// dead, Wait() returns an error such as "rank 1: layer 3 dispatch of step 41: no data from rank 2
// within 30 s (rank 2 (pid 4711) is gone)", and the communicator is broken: every later call
// returns the same error. The process reports and leaves (or joins a group that is made anew).
//
// One thread per rank uses a communicator. All ranks of the group make the same calls in the same
// order.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// The name of a wait, for error messages. `phase` must outlive the exchange: use a literal.
struct WaitLabel {
  const char* phase = "";
  int layer = -1;     // -1: outside the layers
  int64_t step = -1;  // -1: outside the steps
};

// An exchange under way. Obtained from Communicator::Start and given back to Wait once.
struct Exchange {
  int slot = -1;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Starts sending send[q] to and receiving recv[q] from every rank q of the group; both spans have
  // size() entries, empty ranges cost nothing, and the two sides must agree on the lengths.
  // send[rank()] is copied to recv[rank()]. The byte ranges (not the spans of spans) must stay
  // valid and untouched until Wait. Several exchanges may be under way; they are matched by the
  // order of their starts. Never blocks, and allocates only while it warms up.
  // Lengths that do not agree are an error wherever a rank can see it; where it cannot (bytes sent
  // to a rank that expects none), the exchange may end well on one side.
  virtual absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                         std::span<const MutableBytes> recv,
                                         const WaitLabel& label) = 0;

  // Returns when all of the exchange's ranges have arrived and its send ranges may be reused, or
  // with an error at the deadline.
  virtual absl::Status Wait(Exchange exchange) = 0;

  // Looks without waiting whether a peer is known to be dead or to have given up: the error that a
  // wait under this label would soon return, which breaks the communicator too. For waits on
  // something else that a peer has to do, a GPU's work for instance.
  virtual absl::Status CheckPeers(const WaitLabel& label) = 0;

  // A wait on something else begins and ends, for whoever watches this rank (WatchCommunicator).
  virtual void BeginOtherWait(const WaitLabel& /*label*/) {}
  virtual void EndOtherWait() {}

  // The deadline of every following wait.
  virtual void set_timeout(std::chrono::milliseconds timeout) = 0;
  virtual std::chrono::milliseconds timeout() const = 0;

  // Tells the peers, as far as possible, that this rank gives up with `reason`, so that they fail
  // at once with a message that names this rank instead of waiting for their deadline.
  virtual void Abandon(const absl::Status& reason) = 0;
};

// "layer 3 dispatch of step 41".
std::string WaitPlace(const WaitLabel& label);
// "rank 1: layer 3 dispatch of step 41", the opening words of every error of a wait.
std::string WaitName(int rank, const WaitLabel& label);
// "250 ms", "30 s".
std::string FormatDuration(std::chrono::milliseconds duration);
// "rank 2", "ranks 2, 3 and 5".
std::string FormatRanks(const std::vector<int>& ranks);

// Collectives over Start/Wait. All ranks call them with matching sizes.
absl::Status Barrier(Communicator& comm, const WaitLabel& label);
// `data` has the same size on all ranks; root's content is copied to all.
absl::Status Broadcast(Communicator& comm, int root, MutableBytes data, const WaitLabel& label);
// Broadcast of a string whose length only the root knows.
absl::Status BroadcastString(Communicator& comm, int root, std::string* data,
                             const WaitLabel& label);
// all.size() == size() * mine.size(); rank order.
absl::Status AllGather(Communicator& comm, ConstBytes mine, MutableBytes all,
                       const WaitLabel& label);
// Variable lengths; element q is rank q's string, on every rank.
absl::StatusOr<std::vector<std::string>> AllGatherStrings(Communicator& comm,
                                                          const std::string& mine,
                                                          const WaitLabel& label);
// Element q is rank q's string at the root; empty elsewhere.
absl::StatusOr<std::vector<std::string>> GatherStrings(Communicator& comm, int root,
                                                       const std::string& mine,
                                                       const WaitLabel& label);

}  // namespace folkmoot
