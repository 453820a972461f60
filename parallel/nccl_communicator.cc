// SPDX-License-Identifier: Apache-2.0
// Main functions: Create (the ranks compare what they have, then connect), Ready and Wait (the two
// places that wait), RollCall (who is missing at a deadline).
#include "parallel/nccl_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "parallel/peer_process.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

using Clock = Backoff::Clock;

constexpr std::chrono::milliseconds kErrorCheckInterval(1);
constexpr std::chrono::milliseconds kPeerCheckInterval(50);
// A peer that is gone may have sent all that we wait for.
constexpr std::chrono::milliseconds kLastWordsTime(200);
// The ranks reach their deadlines one after the other.
constexpr std::chrono::milliseconds kRollCallTime(5000);
constexpr std::chrono::milliseconds kFarewellTime(5000);
constexpr int64_t kFirstExchangeBytes = 256;
constexpr WaitLabel kSetUpLabel{.phase = "NCCL set-up"};

size_t Index(int rank) { return static_cast<size_t>(rank); }

const std::byte* At(const void* data, int64_t offset) {
  return static_cast<const std::byte*>(data) + offset;
}
std::byte* At(void* data, int64_t offset) { return static_cast<std::byte*>(data) + offset; }

// What a rank tells the others before they connect.
struct RankCard {
  std::string error;  // why it cannot; then nothing else counts
  std::string host;
  std::string gpu;   // uuid
  std::string name;  // of the GPU, for people
  int version = 0;   // of NCCL

  std::string Encode() const {
    return nlohmann::json(
               {{"error", error}, {"host", host}, {"gpu", gpu}, {"name", name}, {"nccl", version}})
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  static RankCard Decode(const std::string& text) {
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return {.error = "it says nothing that can be read"};
    return {.error = json.value("error", ""),
            .host = json.value("host", ""),
            .gpu = json.value("gpu", ""),
            .name = json.value("name", ""),
            .version = json.value("nccl", 0)};
  }
};

// The first thing that keeps these ranks from forming a group.
absl::Status CompareCards(int rank, const std::vector<RankCard>& cards,
                          const NcclOptions& options) {
  const std::string name = WaitName(rank, kSetUpLabel);
  for (size_t q = 0; q < cards.size(); ++q) {
    if (cards[q].error.empty()) continue;
    return FailedPrecondition("{}: rank {} (on {}): {}", name, q, cards[q].host, cards[q].error);
  }
  for (size_t q = 1; q < cards.size(); ++q) {
    if (cards[q].version == cards[0].version) continue;
    return FailedPrecondition("{}: rank {} has NCCL {}, rank 0 has {}; give all the same one", name,
                              q, NcclVersionText(cards[q].version),
                              NcclVersionText(cards[0].version));
  }
  for (size_t q = 1; q < cards.size() && !options.allow_shared_gpu; ++q) {
    for (size_t p = 0; p < q; ++p) {
      if (cards[p].gpu != cards[q].gpu || cards[p].host != cards[q].host) continue;
      return FailedPrecondition(
          "{}: ranks {} and {} would share one GPU ({}, {}, on {}); start at most one rank for "
          "each "
          "GPU of a node",
          name, p, q, cards[q].name, cards[q].gpu, cards[q].host);
    }
  }
  return absl::OkStatus();
}

// Where a rank's device has come to.
struct Whereabouts {
  std::array<char, 32> phase{};
  int64_t layer = -1;
  int64_t step = -1;
};

// Restores the deadline of a communicator.
class TimeoutScope {
 public:
  TimeoutScope(Communicator& comm, std::chrono::milliseconds timeout)
      : comm_(comm), before_(comm.timeout()) {
    comm.set_timeout(timeout);
  }
  ~TimeoutScope() { comm_.set_timeout(before_); }
  TimeoutScope(const TimeoutScope&) = delete;
  TimeoutScope& operator=(const TimeoutScope&) = delete;

 private:
  Communicator& comm_;
  const std::chrono::milliseconds before_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Create(
    const absl::StatusOr<NcclApi>& api, Communicator& host, const cuda::DeviceInfo& device,
    cuda::Stream& stream, const NcclOptions& options) {
  const TimeoutScope scope(host, options.setup_timeout);
  RankCard mine{.host = ProcessIdentity::Own().host, .gpu = device.uuid, .name = device.name};
  if (api.ok()) {
    mine.version = api->version;
  } else {
    mine.error = std::string(Message(api.status()));
  }
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                      AllGatherStrings(host, mine.Encode(), kSetUpLabel));
  std::vector<RankCard> cards;
  for (const std::string& text : texts) cards.push_back(RankCard::Decode(text));
  FM_RETURN_IF_ERROR(CompareCards(host.rank(), cards, options));

  std::unique_ptr<NcclCommunicator> comm(new NcclCommunicator(host, *api));
  FM_RETURN_IF_ERROR(comm->Connect(stream, options));
  return comm;
}

absl::Status NcclCommunicator::Connect(cuda::Stream& stream, const NcclOptions& options) {
  FM_ASSIGN_OR_RETURN(const NcclUniqueId id, ShareId());
  NcclConfig config;
  config.blocking = 0;
  if (options.max_ctas > 0) {
    config.min_ctas = 1;
    config.max_ctas = options.max_ctas;
  }
  const NcclResult result = api_.comm_init_rank_config(&comm_, size(), id, rank(), &config);
  FM_RETURN_IF_ERROR(Ready(result, "ncclCommInitRankConfig", kSetUpLabel));
  return FirstExchange(stream);
}

// The first byte of the message tells whether rank 0 could make an id; then comes the id or why
// not.
absl::StatusOr<NcclUniqueId> NcclCommunicator::ShareId() {
  NcclUniqueId id{};
  std::string message;
  if (rank() == 0) {
    const NcclResult result = api_.get_unique_id(&id);
    message = result == kNcclSuccess
                  ? '+' + std::string(id.internal, sizeof(id.internal))
                  : '-' + std::string(Message(Failure(result, "ncclGetUniqueId", kSetUpLabel)));
  }
  FM_RETURN_IF_ERROR(BroadcastString(host_, 0, &message, kSetUpLabel));
  if (message.size() != 1 + sizeof(id.internal) || message[0] != '+') {
    return Unavailable("{}", message.empty() ? message : message.substr(1));
  }
  std::memcpy(id.internal, message.data() + 1, sizeof(id.internal));
  return id;
}

// NCCL makes many connections when they are first used; a recording is no time for it.
absl::Status NcclCommunicator::FirstExchange(cuda::Stream& stream) {
  const int64_t bytes = kFirstExchangeBytes * size();
  const absl::StatusOr<cuda::Memory> send =
      cuda::Memory::Allocate(bytes, "the first exchange of the ranks");
  const absl::StatusOr<cuda::Memory> recv =
      cuda::Memory::Allocate(bytes, "the first exchange of the ranks");
  if (!send.ok()) return Abandon(send.status());
  if (!recv.ok()) return Abandon(recv.status());
  cuda::FillZero(stream, send->data(), bytes);
  const GatherPart part{send->data(), recv->data(), kFirstExchangeBytes};
  FM_RETURN_IF_ERROR(AllGather(stream, {&part, 1}, kSetUpLabel));
  FM_RETURN_IF_ERROR(
      AllToAll(stream, send->data(), recv->data(), kFirstExchangeBytes, kSetUpLabel));
  return Wait(stream, [] { return kSetUpLabel; });
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  NcclResult state = api_.comm_finalize(comm_);
  backoff_.Begin();
  while (state == kNcclInProgress && backoff_.Pause() < kFarewellTime) {
    if (api_.comm_get_async_error(comm_, &state) != kNcclSuccess) break;
  }
  if (state == kNcclSuccess) {
    api_.comm_destroy(comm_);
  } else {
    api_.comm_abort(comm_);
  }
}

absl::Status NcclCommunicator::Failure(NcclResult result, const char* call,
                                       const WaitLabel& label) const {
  const char* detail = api_.get_last_error(comm_);
  const bool told = detail != nullptr && *detail != '\0';
  return Unavailable("{}: {}: {}{}{}", WaitName(rank(), label), call, api_.get_error_string(result),
                     told ? ": " : "", told ? detail : "");
}

absl::Status NcclCommunicator::Abandon(const absl::Status& reason) {
  if (!broken_.ok()) return broken_;
  broken_ = reason.ok() ? Unavailable("rank {} gave up", rank()) : reason;
  if (comm_ != nullptr) api_.comm_abort(comm_);
  comm_ = nullptr;
  host_.Abandon(broken_);
  return broken_;
}

absl::Status NcclCommunicator::AsyncError(const WaitLabel& label) const {
  NcclResult state = kNcclSuccess;
  NcclResult result = api_.comm_get_async_error(comm_, &state);
  if (result == kNcclSuccess) result = state;
  if (result == kNcclSuccess || result == kNcclInProgress) return absl::OkStatus();
  return Failure(result, "NCCL", label);
}

absl::Status NcclCommunicator::RollCall(const WaitLabel& label) {
  const std::string what = fmt::format("{}: no progress on the GPU within {}",
                                       WaitName(rank(), label), FormatDuration(host_.timeout()));
  Whereabouts mine{.layer = label.layer, .step = label.step};
  std::strncpy(mine.phase.data(), label.phase, mine.phase.size() - 1);
  std::vector<Whereabouts> all(Index(size()));
  const TimeoutScope scope(host_, std::min(host_.timeout(), kRollCallTime));
  const absl::Status heard = folkmoot::AllGather(host_, std::as_bytes(std::span(&mine, 1)),
                                                 std::as_writable_bytes(std::span(all)),
                                                 {.phase = "roll call", .step = label.step});
  if (!heard.ok()) return DeadlineExceeded("{} ({})", what, Message(heard));
  std::string others;
  for (size_t q = 0; q < all.size(); ++q) {
    if (q == Index(rank())) continue;
    all[q].phase.back() = '\0';
    const WaitLabel theirs{
        .phase = all[q].phase.data(), .layer = static_cast<int>(all[q].layer), .step = all[q].step};
    others += (others.empty() ? "" : "; ") + WaitName(static_cast<int>(q), theirs);
  }
  return DeadlineExceeded("{} (all ranks answer: {})", what, others);
}

absl::Status NcclCommunicator::Ready(NcclResult result, const char* call, const WaitLabel& label) {
  if (result == kNcclSuccess) return absl::OkStatus();
  backoff_.Begin();
  Clock::duration next_check = kPeerCheckInterval;
  while (result == kNcclInProgress) {
    NcclResult state = kNcclSuccess;
    result = api_.comm_get_async_error(comm_, &state);
    if (result == kNcclSuccess) result = state;
    if (result != kNcclInProgress) break;
    const Clock::duration waited = backoff_.Pause();
    if (waited >= next_check) {
      next_check = waited + kPeerCheckInterval;
      if (absl::Status peers = host_.CheckPeers(label); !peers.ok()) return Abandon(peers);
    }
    if (waited >= host_.timeout()) return Abandon(RollCall(label));
  }
  return result == kNcclSuccess ? absl::OkStatus() : Abandon(Failure(result, call, label));
}

// An error inside a group still needs the end of the group: the count of open groups belongs to
// the thread.
absl::Status NcclCommunicator::Grouped(absl::FunctionRef<NcclResult()> calls, const char* call,
                                       const WaitLabel& label) {
  NcclResult result = api_.group_start();
  if (result != kNcclSuccess) return Abandon(Failure(result, "ncclGroupStart", label));
  const NcclResult inside = calls();
  result = api_.group_end();
  if (inside != kNcclSuccess && inside != kNcclInProgress) result = inside;
  return Ready(result, call, label);
}

absl::Status NcclCommunicator::AllToAll(cuda::Stream& stream, const void* send, void* recv,
                                        int64_t bytes, const WaitLabel& label) {
  if (!broken_.ok()) return broken_;
  if (bytes == 0) return absl::OkStatus();
  const size_t count = static_cast<size_t>(bytes);
  if (api_.all_to_all) {
    return Ready(api_.all_to_all(send, recv, count, kNcclUint8, comm_, stream.handle()),
                 "ncclAlltoAll", label);
  }
  const auto calls = [&] {
    for (int q = 0; q < size(); ++q) {
      NcclResult result =
          api_.send(At(send, q * bytes), count, kNcclUint8, q, comm_, stream.handle());
      if (result != kNcclSuccess && result != kNcclInProgress) return result;
      result = api_.recv(At(recv, q * bytes), count, kNcclUint8, q, comm_, stream.handle());
      if (result != kNcclSuccess && result != kNcclInProgress) return result;
    }
    return kNcclSuccess;
  };
  return Grouped(calls, "ncclSend and ncclRecv", label);
}

absl::Status NcclCommunicator::AllGather(cuda::Stream& stream, std::span<const GatherPart> parts,
                                         const WaitLabel& label) {
  if (!broken_.ok()) return broken_;
  const auto calls = [&] {
    for (const GatherPart& part : parts) {
      if (part.bytes == 0) continue;
      const NcclResult result =
          api_.all_gather(part.send, part.recv, static_cast<size_t>(part.bytes), kNcclUint8, comm_,
                          stream.handle());
      if (result != kNcclSuccess && result != kNcclInProgress) return result;
    }
    return kNcclSuccess;
  };
  return Grouped(calls, "ncclAllGather", label);
}

absl::Status NcclCommunicator::AllToAllV(cuda::Stream& stream, std::span<const DeviceRange> send,
                                         std::span<const DeviceRange> recv,
                                         const WaitLabel& label) {
  if (!broken_.ok()) return broken_;
  FM_CHECK(send.size() == recv.size() && send.size() % Index(size()) == 0);
  bool empty = true;
  for (size_t i = 0; i < send.size(); ++i) {
    if (i % Index(size()) == Index(rank())) {
      FM_CHECK(send[i].bytes == recv[i].bytes);
      if (send[i].bytes > 0) {
        cuda::CopyOnDevice(stream, recv[i].data, send[i].data, send[i].bytes);
      }
    } else {
      empty = empty && send[i].bytes == 0 && recv[i].bytes == 0;
    }
  }
  if (empty) return absl::OkStatus();
  const auto calls = [&] {
    for (size_t i = 0; i < send.size(); ++i) {
      const int q = static_cast<int>(i % Index(size()));
      if (q == rank()) continue;
      NcclResult result = kNcclSuccess;
      if (send[i].bytes > 0) {
        result = api_.send(send[i].data, static_cast<size_t>(send[i].bytes), kNcclUint8, q, comm_,
                           stream.handle());
        if (result != kNcclSuccess && result != kNcclInProgress) return result;
      }
      if (recv[i].bytes > 0) {
        result = api_.recv(recv[i].data, static_cast<size_t>(recv[i].bytes), kNcclUint8, q, comm_,
                           stream.handle());
        if (result != kNcclSuccess && result != kNcclInProgress) return result;
      }
    }
    return kNcclSuccess;
  };
  return Grouped(calls, "ncclSend and ncclRecv", label);
}

absl::Status NcclCommunicator::Wait(cuda::Stream& stream, absl::FunctionRef<WaitLabel()> label) {
  if (!broken_.ok()) return broken_;
  backoff_.Begin();
  Clock::duration next_check = kPeerCheckInterval;
  Clock::duration give_up = host_.timeout();
  absl::Status peers;
  while (!stream.Finished()) {
    const Clock::duration waited = backoff_.Pause();
    if (waited >= kErrorCheckInterval) {
      if (absl::Status error = AsyncError(label()); !error.ok()) return Abandon(error);
    }
    if (waited >= next_check && peers.ok()) {
      next_check = waited + kPeerCheckInterval;
      peers = host_.CheckPeers(label());
      if (!peers.ok()) give_up = waited + kLastWordsTime;
    }
    if (waited >= give_up) return Abandon(peers.ok() ? RollCall(label()) : peers);
  }
  if (absl::Status error = AsyncError(label()); !error.ok()) return Abandon(error);
  if (absl::Status error = stream.Synchronize(); !error.ok()) {
    return Abandon(Annotate(error, WaitName(rank(), label())));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
