// SPDX-License-Identifier: Apache-2.0
// NCCL for ranks that are threads of one process, on the simulator's streams: the same table, with
// the checks that NCCL does not make. All ranks must make the same collective calls in the same
// order with the same lengths, sends must meet receives of the same length, and nobody may call
// while an earlier call is in progress. Who does not is named: Complaint(), and every rank finds
// an error. What can never end does not block the thread: the stream stays unfinished, as a GPU's
// would, until the communicator is aborted.
//
// Faults are set before the ranks start.
#pragma once

#include <memory>
#include <string>

#include "parallel/nccl_api.h"

namespace folkmoot {

struct FakeNcclOptions {
  int version = 22809;
  bool all_to_all = true;  // false: the library is older than the function
  int polls = 0;           // how often the state is "in progress" after each call
};

class FakeNccl {
 public:
  explicit FakeNccl(const FakeNcclOptions& options = {});
  ~FakeNccl();
  FakeNccl(const FakeNccl&) = delete;
  FakeNccl& operator=(const FakeNccl&) = delete;

  // Valid as long as this object.
  NcclApi Api();

  // ncclCommInitRankConfig of this rank fails.
  void FailInit(int rank, NcclResult result);
  // ncclGetUniqueId fails.
  void FailUniqueId(NcclResult result);
  // The rank's call number `call`, counted from 0 as they run (a recorded call counts each time it
  // runs), never ends, and the state becomes `result`.
  void FailCall(int rank, int call, NcclResult result);
  // From call number `call` on, the rank's GPU hangs: nothing ends, and no error shows.
  void HangCall(int rank, int call);

  // The first thing that a rank did wrong; empty: nothing.
  std::string Complaint() const;
  // Calls of this rank that ran.
  int Calls(int rank) const;

  struct State;

 private:
  const std::unique_ptr<State> state_;
};

}  // namespace folkmoot
