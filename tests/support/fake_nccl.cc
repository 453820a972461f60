// SPDX-License-Identifier: Apache-2.0
// A call becomes a host function on the stream. When it runs, its rank leaves its parts where the
// peers find them; whoever brings the last piece of a part copies for all. Main function: RunCall.
#include "tests/support/fake_nccl.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/check.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/sim/options.h"

namespace folkmoot {
namespace {

// Longer than any peer needs; a mistake of the fake then shows as a stuck stream.
constexpr std::chrono::seconds kPatience(60);

enum class Kind { kAllGather, kAllToAll, kSend, kRecv };

struct Part {
  Kind kind;
  const std::byte* send;
  std::byte* recv;
  size_t count;
  int peer;
};

struct Group;

// One call of one rank, and what is still missing each time it runs.
struct Comm {
  Group* group = nullptr;
  int rank = 0;
  NcclResult state = kNcclSuccess;
  std::string error;
  int polls = 0;
  bool stuck = false;
  bool gone = false;  // destroyed or aborted
  std::vector<NcclStream> held;
  int64_t collectives = 0;
  int calls = 0;
  std::vector<const Part*> missing;  // of the call that runs

  void Done(const Part* part) { missing.erase(std::find(missing.begin(), missing.end(), part)); }
};

struct Call {
  FakeNccl::State* owner;
  Comm* comm;
  NcclStream stream;
  std::vector<Part> parts;
};

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

const char* Name(Kind kind) {
  switch (kind) {
    case Kind::kAllGather:
      return "ncclAllGather";
    case Kind::kAllToAll:
      return "ncclAlltoAll";
    case Kind::kSend:
      return "ncclSend";
    case Kind::kRecv:
      return "ncclRecv";
  }
  return "";
}

std::string Describe(const Waiting& one) {
  return fmt::format("rank {} calls {} of {} bytes", one.comm->rank, Name(one.part->kind),
                     one.part->count);
}

void Copy(std::byte* to, const std::byte* from, size_t count) {
  if (count > 0) std::memmove(to, from, count);
}

}  // namespace

struct FakeNccl::State {
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

NcclResult FakeNccl::State::Init(NcclComm* out, int ranks, const NcclUniqueId& id, int rank,
                                 const NcclConfig& config) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (config.magic != 0xcafebeef || config.size != sizeof(NcclConfig) || config.blocking != 0) {
    return kNcclInvalidArgument;
  }
  if (const auto fault = init_faults.find(rank); fault != init_faults.end()) return fault->second;
  Group& group = groups[std::string(id.internal, sizeof(id.internal))];
  if (group.ranks == 0) {
    group.ranks = ranks;
    group.comms.resize(static_cast<size_t>(ranks));
  }
  if (group.ranks != ranks || rank < 0 || rank >= ranks ||
      group.comms[static_cast<size_t>(rank)] != nullptr) {
    Complain(group, fmt::format("rank {} of {} joins a group of {}", rank, ranks, group.ranks));
    return kNcclInvalidArgument;
  }
  comms.emplace_back();
  comms.back().group = &group;
  comms.back().rank = rank;
  comms.back().polls = options.polls;
  group.comms[static_cast<size_t>(rank)] = &comms.back();
  ++group.joined;
  *out = &comms.back();
  return kNcclInProgress;
}

NcclResult FakeNccl::State::AsyncError(Comm* comm, NcclResult* out) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (comm->state != kNcclSuccess) {
    *out = comm->state;
  } else if (comm->group->joined < comm->group->ranks || comm->polls > 0) {
    comm->polls -= comm->polls > 0 ? 1 : 0;
    *out = kNcclInProgress;
  } else {
    *out = kNcclSuccess;
  }
  return kNcclSuccess;
}

NcclResult FakeNccl::State::Enqueue(Comm* comm, NcclStream stream, const Part& part) {
  std::unique_lock<std::mutex> lock(mutex);
  if (comm->polls > 0 || comm->group->joined < comm->group->ranks) {
    Complain(*comm->group, fmt::format("rank {} calls {} while an earlier call is in progress",
                                       comm->rank, Name(part.kind)));
    return kNcclInvalidUsage;
  }
  const auto group = open.find(std::this_thread::get_id());
  if (group == open.end()) {
    lock.unlock();
    return Submit({this, comm, stream, {part}});
  }
  Call& call = group->second.second;
  if (call.comm == nullptr) call = {this, comm, stream, {}};
  FM_CHECK(call.comm == comm && call.stream == stream);
  call.parts.push_back(part);
  return kNcclSuccess;
}

NcclResult FakeNccl::State::EndGroup() {
  std::unique_lock<std::mutex> lock(mutex);
  const auto group = open.find(std::this_thread::get_id());
  if (group == open.end()) return kNcclInvalidUsage;
  if (--group->second.first > 0) return kNcclSuccess;
  Call call = std::move(group->second.second);
  open.erase(group);
  lock.unlock();
  return call.parts.empty() ? kNcclSuccess : Submit(std::move(call));
}

// The stream runs it, at once or as often as a graph that recorded it is launched.
NcclResult FakeNccl::State::Submit(Call call) {
  std::unique_lock<std::mutex> lock(mutex);
  calls.push_back(std::move(call));
  Call* kept = &calls.back();
  kept->comm->polls = options.polls;
  lock.unlock();
  const auto run = [](void* data) {
    const Call* one = static_cast<Call*>(data);
    one->owner->Run(*one);
  };
  const cudaError_t error = cudaLaunchHostFunc(static_cast<cudaStream_t>(kept->stream), run, kept);
  if (error != cudaSuccess) return kNcclUnhandledCudaError;
  return options.polls > 0 ? kNcclInProgress : kNcclSuccess;
}

void FakeNccl::State::Run(const Call& call) {
  std::unique_lock<std::mutex> lock(mutex);
  Comm* comm = call.comm;
  const int number = comm->calls++;
  const auto fault = call_faults.find(comm->rank);
  if (fault != call_faults.end() && number >= fault->second.first) {
    comm->state = fault->second.second;
    if (comm->state != kNcclSuccess) comm->error = "injected";
    Stick(comm, call.stream);
  }
  if (comm->stuck || comm->gone) return;
  for (const Part& part : call.parts) comm->missing.push_back(&part);
  for (const Part& part : call.parts) Post(comm, part);
  CheckDeadlock(*comm->group);
  changed.notify_all();
  changed.wait_for(lock, kPatience, [&] { return comm->missing.empty() || Hopeless(*comm); });
  if (!comm->missing.empty()) Stick(comm, call.stream);
}

void FakeNccl::State::Post(Comm* comm, const Part& part) {
  Group& group = *comm->group;
  switch (part.kind) {
    case Kind::kAllGather:
    case Kind::kAllToAll: {
      std::vector<Waiting>& slot = group.collectives[comm->collectives++];
      slot.push_back({comm, &part});
      if (slot.size() == static_cast<size_t>(group.ranks)) Collect(group, slot);
      break;
    }
    case Kind::kSend:
      group.sends[{comm->rank, part.peer}].push_back({comm, &part});
      Match(group, {comm->rank, part.peer});
      break;
    case Kind::kRecv:
      group.recvs[{part.peer, comm->rank}].push_back({comm, &part});
      Match(group, {part.peer, comm->rank});
      break;
  }
}

// All ranks are here: do they agree? The one that is alone with its call lies.
void FakeNccl::State::Collect(Group& group, std::vector<Waiting>& slot) {
  const auto same = [](const Waiting& a, const Waiting& b) {
    return a.part->kind == b.part->kind && a.part->count == b.part->count;
  };
  for (const Waiting& one : slot) {
    size_t agree = 0;
    const Waiting* other = nullptr;
    for (const Waiting& peer : slot) {
      if (same(one, peer)) {
        ++agree;
      } else {
        other = &peer;
      }
    }
    if (other != nullptr && agree * 2 <= slot.size()) {
      return Complain(group, Describe(one) + ", where " + Describe(*other));
    }
  }
  for (const Waiting& to : slot) {
    for (const Waiting& from : slot) {
      const size_t count = to.part->count;
      const bool gather = to.part->kind == Kind::kAllGather;
      Copy(to.part->recv + static_cast<size_t>(from.comm->rank) * count,
           from.part->send + (gather ? 0 : static_cast<size_t>(to.comm->rank) * count), count);
    }
  }
  for (const Waiting& one : slot) one.comm->Done(one.part);
  slot.clear();
}

void FakeNccl::State::Match(Group& group, std::pair<int, int> pair) {
  std::deque<Waiting>& sends = group.sends[pair];
  std::deque<Waiting>& recvs = group.recvs[pair];
  while (!sends.empty() && !recvs.empty()) {
    const Waiting send = sends.front();
    const Waiting recv = recvs.front();
    if (send.part->count != recv.part->count) {
      return Complain(group, Describe(send) + ", where " + Describe(recv));
    }
    Copy(recv.part->recv, send.part->send, send.part->count);
    send.comm->Done(send.part);
    recv.comm->Done(recv.part);
    sends.pop_front();
    recvs.pop_front();
  }
}

// Every rank waits and nothing can come.
void FakeNccl::State::CheckDeadlock(Group& group) {
  std::string what;
  for (const Comm* comm : group.comms) {
    if (comm == nullptr || comm->missing.empty() || comm->stuck) return;
    what += fmt::format("{}rank {} in {}", what.empty() ? "" : ", ", comm->rank,
                        Name(comm->missing.front()->kind));
  }
  Complain(group, "all ranks wait for each other: " + what);
}

void FakeNccl::State::Complain(Group& group, const std::string& what) {
  if (complaint.empty()) complaint = what;
  for (Comm* comm : group.comms) {
    if (comm == nullptr || comm->state != kNcclSuccess) continue;
    comm->state = kNcclInvalidUsage;
    comm->error = what;
  }
  changed.notify_all();
}

// Nobody will bring what is missing.
bool FakeNccl::State::Hopeless(const Comm& comm) const {
  if (comm.state != kNcclSuccess) return true;
  for (const Part* part : comm.missing) {
    for (const Comm* peer : comm.group->comms) {
      const bool needed = part->peer < 0 || part->peer == peer->rank;
      if (needed && (peer->gone || peer->stuck)) return true;
    }
  }
  return false;
}

void FakeNccl::State::Stick(Comm* comm, NcclStream stream) {
  comm->stuck = true;
  comm->held.push_back(stream);
  cuda::sim::HoldStream(static_cast<cudaStream_t>(stream), true);
  changed.notify_all();
}

void FakeNccl::State::Leave(Comm* comm, bool abort) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!abort && comm->stuck) {
    Complain(*comm->group, fmt::format("rank {} destroys a communicator at work", comm->rank));
  }
  comm->gone = true;
  for (NcclStream stream : comm->held) {
    cuda::sim::HoldStream(static_cast<cudaStream_t>(stream), false);
  }
  comm->held.clear();
  changed.notify_all();
}

FakeNccl::FakeNccl(const FakeNcclOptions& options) : state_(std::make_unique<State>(options)) {}
FakeNccl::~FakeNccl() = default;

void FakeNccl::FailInit(int rank, NcclResult result) { state_->init_faults[rank] = result; }
void FakeNccl::FailUniqueId(NcclResult result) { state_->id_fault = result; }
void FakeNccl::FailCall(int rank, int call, NcclResult result) {
  state_->call_faults[rank] = {call, result};
}
void FakeNccl::HangCall(int rank, int call) { state_->call_faults[rank] = {call, kNcclSuccess}; }

std::string FakeNccl::Complaint() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->complaint;
}

int FakeNccl::Calls(int rank) const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  for (const Comm& comm : state_->comms) {
    if (comm.rank == rank) return comm.calls;
  }
  return 0;
}

NcclApi FakeNccl::Api() {
  State* state = state_.get();
  const auto comm_of = [](NcclComm comm) { return static_cast<Comm*>(comm); };
  const auto bytes_of = [](const void* data) { return static_cast<const std::byte*>(data); };
  NcclApi api;
  api.path = "fake";
  api.version = state->options.version;
  api.get_version = [state](int* version) {
    *version = state->options.version;
    return kNcclSuccess;
  };
  api.get_unique_id = [state](NcclUniqueId* id) {
    const std::lock_guard<std::mutex> lock(state->mutex);
    if (state->id_fault != kNcclSuccess) return state->id_fault;
    *id = {};
    std::memcpy(id->internal, &++state->next_id, sizeof(int));
    return kNcclSuccess;
  };
  api.comm_init_rank_config = [state](NcclComm* comm, int ranks, NcclUniqueId id, int rank,
                                      NcclConfig* config) {
    return state->Init(comm, ranks, id, rank, *config);
  };
  api.comm_finalize = [](NcclComm) { return kNcclSuccess; };
  api.comm_destroy = [=](NcclComm comm) {
    state->Leave(comm_of(comm), /*abort=*/false);
    return kNcclSuccess;
  };
  api.comm_abort = [=](NcclComm comm) {
    state->Leave(comm_of(comm), /*abort=*/true);
    return kNcclSuccess;
  };
  api.comm_get_async_error = [=](NcclComm comm, NcclResult* out) {
    return state->AsyncError(comm_of(comm), out);
  };
  api.get_error_string = [](NcclResult result) {
    return result == kNcclInvalidUsage ? "invalid usage" : "error of the fake";
  };
  api.get_last_error = [=](NcclComm comm) {
    return comm == nullptr ? "" : comm_of(comm)->error.c_str();
  };
  api.group_start = [state] {
    const std::lock_guard<std::mutex> lock(state->mutex);
    ++state->open[std::this_thread::get_id()].first;
    return kNcclSuccess;
  };
  api.group_end = [state] { return state->EndGroup(); };
  api.send = [=](const void* data, size_t count, NcclDataType, int peer, NcclComm comm,
                 NcclStream stream) {
    return state->Enqueue(comm_of(comm), stream,
                          {Kind::kSend, bytes_of(data), nullptr, count, peer});
  };
  api.recv = [=](void* data, size_t count, NcclDataType, int peer, NcclComm comm,
                 NcclStream stream) {
    return state->Enqueue(comm_of(comm), stream,
                          {Kind::kRecv, nullptr, static_cast<std::byte*>(data), count, peer});
  };
  const auto collective = [=](Kind kind) {
    return [=](const void* send, void* recv, size_t count, NcclDataType, NcclComm comm,
               NcclStream stream) {
      return state->Enqueue(comm_of(comm), stream,
                            {kind, bytes_of(send), static_cast<std::byte*>(recv), count, -1});
    };
  };
  api.all_gather = collective(Kind::kAllGather);
  if (state->options.all_to_all) api.all_to_all = collective(Kind::kAllToAll);
  return api;
}

}  // namespace folkmoot
