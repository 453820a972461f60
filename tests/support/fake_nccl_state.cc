// SPDX-License-Identifier: Apache-2.0
// A call becomes a host function on the stream. When it runs, its rank leaves its parts where the
// peers find them; whoever brings the last piece of a part copies for all. Main function: Run.
#include "tests/support/fake_nccl_state.h"

#include <cstring>

#include "runtime/check.h"
#include "runtime/cuda/platform.h"
#include "runtime/cuda/sim/options.h"

namespace folkmoot {
namespace {

using Kind = FakeNccl::State::Kind;
using Waiting = FakeNccl::State::Waiting;

// Longer than any peer needs; a mistake of the fake then shows as a stuck stream.
constexpr std::chrono::seconds kPatience(60);

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
  if (part.count == 0) {  // older versions of NCCL hung on them
    Complain(*comm->group, fmt::format("rank {} calls {} of nothing", comm->rank, Name(part.kind)));
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
  for (const Waiting& one : slot) {
    if (one.comm->Lost()) return;
  }
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
  // What a lost rank left has no memory behind it any more.
  while (!sends.empty() && sends.front().comm->Lost()) sends.pop_front();
  while (!recvs.empty() && recvs.front().comm->Lost()) recvs.pop_front();
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
      if (needed && peer->Lost()) return true;
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

}  // namespace folkmoot
