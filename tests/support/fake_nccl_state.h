// SPDX-License-Identifier: Apache-2.0
// What the ranks of a FakeNccl share. For its implementation only.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/fake_nccl.h"

namespace folkmoot {

struct FakeNccl::State {
  enum class Kind { kAllGather, kAllToAll, kSend, kRecv };

  struct Part {
    Kind kind;
    const std::byte* send;
    std::byte* recv;
    size_t count;
    int peer;
  };
  struct Group;
  // A rank's communicator.
  struct Comm {
    Group* group = nullptr;
    int rank = 0;
    NcclResult state = kNcclSuccess;
    std::string error;
    int polls = 0;       // how often the state is still "in progress"
    bool stuck = false;  // a call never ends
    bool gone = false;   // destroyed or aborted
    std::vector<NcclStream> held;
    int64_t collectives = 0;
    int calls = 0;
    std::vector<const Part*> missing;  // of the call that runs

    bool Lost() const { return stuck || gone; }
    void Done(const Part* part) { missing.erase(std::find(missing.begin(), missing.end(), part)); }
  };
  // One call, or group of calls.
  struct Call {
    State* owner;
    Comm* comm;
    NcclStream stream;
    std::vector<Part> parts;
  };
  // A part that is left for the peers.
  struct Waiting {
    Comm* comm;
    const Part* part;
  };
  struct Group {
    int ranks = 0;
    std::vector<Comm*> comms;
    int joined = 0;
    std::map<int64_t, std::vector<Waiting>> collectives;              // by number
    std::map<std::pair<int, int>, std::deque<Waiting>> sends, recvs;  // by from, to
  };

  explicit State(const FakeNcclOptions& o) : options(o) {}

  NcclResult Init(NcclComm* out, int ranks, const NcclUniqueId& id, int rank,
                  const NcclConfig& config);
  NcclResult AsyncError(Comm* comm, NcclResult* out);
  NcclResult Enqueue(Comm* comm, NcclStream stream, const Part& part);
  NcclResult EndGroup();
  NcclResult Submit(Call call);
  void Run(const Call& call);
  void Leave(Comm* comm, bool abort);

  void Complain(Group& group, const std::string& what);
  void Post(Comm* comm, const Part& part);
  void Collect(Group& group, std::vector<Waiting>& slot);
  void Match(Group& group, std::pair<int, int> pair);
  bool Hopeless(const Comm& comm) const;
  void Stick(Comm* comm, NcclStream stream);
  void CheckDeadlock(Group& group);

  const FakeNcclOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Comm> comms;
  std::deque<Call> calls;
  std::map<std::string, Group> groups;
  std::map<std::thread::id, std::pair<int, Call>> open;  // groups of calls: depth, parts
  std::string complaint;
  int next_id = 0;
  std::map<int, NcclResult> init_faults;
  NcclResult id_fault = kNcclSuccess;
  std::map<int, std::pair<int, NcclResult>> call_faults;  // success: it hangs
};

}  // namespace folkmoot
