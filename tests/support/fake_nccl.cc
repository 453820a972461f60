// SPDX-License-Identifier: Apache-2.0
// The table; what its functions do is in fake_nccl_state.cc.
#include "tests/support/fake_nccl.h"

#include <cstring>

#include "tests/support/fake_nccl_state.h"

namespace folkmoot {

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
  for (const State::Comm& comm : state_->comms) {
    if (comm.rank == rank) return comm.calls;
  }
  return 0;
}

NcclApi FakeNccl::Api() {
  using Kind = State::Kind;
  using Comm = State::Comm;
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
