// SPDX-License-Identifier: Apache-2.0
// Main functions: MpiRanks::Start posts the messages of one exchange, Wait polls them until
// they are done, the deadline passes, a peer dies, or a peer says that it gave up.
#include "parallel/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <numeric>
#include <set>

#include "parallel/backoff.h"
#include "parallel/mpi_channels.h"
#include "parallel/mpi_flight.h"
#include "parallel/peer_process.h"
#include "parallel/prompt_wakeups.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

using Clock = Backoff::Clock;

constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::seconds(30);
constexpr std::chrono::milliseconds kPeerCheckInterval(50);
// A wait this short does not look for notices of peers that gave up.
constexpr std::chrono::milliseconds kNoticeDelay(1);
// How long a rank that gives up stays to hand its notice to MPI.
constexpr std::chrono::milliseconds kAbandonTime(200);
// How long a receive that MPI has begun may take to end, of a group that is given up.
constexpr std::chrono::milliseconds kQuietTime(1000);
// What a dead process on this host had sent is taken by then.
constexpr std::chrono::milliseconds kDrainTime(50);

class MpiRanks final : public MpiCommunicator {
 public:
  explicit MpiRanks(const MpiCommunicatorOptions& options)
      : chunk_bytes_(options.chunk_bytes), threads_per_rank_(options.threads_per_rank) {}
  ~MpiRanks() override;
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  absl::Status SetUp(const MpiCommunicatorOptions& options);

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override;
  absl::Status Wait(Exchange exchange) override;
  absl::Status CheckPeers(const WaitLabel& label) override;
  void set_timeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }
  std::chrono::milliseconds timeout() const override { return timeout_; }
  void Abandon(const absl::Status& reason) override;
  int process() const override { return process_; }
  void Cancel(int next_group) override { first_valid_ = next_group; }
  absl::Status Regroup(int group, std::span<const int> members) override;

 private:
  absl::Status MeetAll(const std::vector<int>& everybody, std::chrono::milliseconds timeout);
  absl::Status Enter(std::span<const int> members);
  absl::Status AwaitQuiet();
  MpiChannel& channel() { return channels_[group_]; }
  MpiRoute RouteTo(int peer, int tag);
  int process_of(int rank) const { return members_[static_cast<size_t>(rank)]; }
  MpiFlight& NewFlight(const WaitLabel& label, Exchange* exchange);
  int PostReceives(MpiFlight& flight, std::span<const MutableBytes> recv, int tag);
  int PostSends(MpiFlight& flight, std::span<const ConstBytes> send, int tag);
  absl::StatusOr<bool> Poll(MpiFlight& flight);
  absl::Status CheckCompleted(const MpiFlight& flight, int count, bool in_status);
  absl::Status CheckCancelled(const WaitLabel& label) const;
  absl::Status CheckNotice(const WaitLabel& label);
  absl::Status CheckPeersOf(MpiFlight& flight);
  absl::Status Missing(const MpiFlight& flight);
  absl::Status MpiFailure(const WaitLabel& label, const char* call, int error) const;
  absl::Status Fail(absl::Status error);

  const int64_t chunk_bytes_;
  const int threads_per_rank_;
  const ProcessIdentity own_ = ProcessIdentity::Own();
  int process_ = 0;
  std::vector<std::string> identities_;  // of all processes of the job
  MpiChannels channels_;
  int group_ = 0;                    // the channel in use
  std::atomic<int> first_valid_{0};  // channels before it must not be waited on
  std::vector<int> members_;         // process of each rank
  int rank_ = 0;
  int max_tag_ = 32767;
  Backoff backoff_;
  std::chrono::milliseconds timeout_ = kDefaultTimeout;
  absl::Status broken_;

  std::deque<MpiFlight> flights_;
  int64_t next_sequence_ = 0;
  std::vector<int> completed_;        // scratch of Poll
  std::vector<MPI_Status> statuses_;  // scratch of Poll
  PeerProcesses peers_;               // by rank
  bool abandoned_ = false;
};

absl::Status MpiRanks::SetUp(const MpiCommunicatorOptions& options) {
  FM_CHECK(chunk_bytes_ > 0 && chunk_bytes_ <= int64_t{1} << 30);
  MPI_Comm_rank(MPI_COMM_WORLD, &process_);
  int processes = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &processes);
  if (processes > 1) AskForPromptWakeups();
  if (options.spares >= processes) {
    return FailedPrecondition("{} spare processes in a job of {}: no rank is left", options.spares,
                              processes);
  }
  FM_RETURN_IF_ERROR(channels_.Make(1 + options.spares, options.setup_timeout, backoff_));
  int* max_tag = nullptr;
  int found = 0;
  MPI_Comm_get_attr(channel().data, MPI_TAG_UB, &max_tag, &found);
  if (found != 0) max_tag_ = *max_tag;
  std::vector<int> members(static_cast<size_t>(processes));
  std::iota(members.begin(), members.end(), 0);
  FM_RETURN_IF_ERROR(MeetAll(members, options.setup_timeout));
  members.resize(members.size() - static_cast<size_t>(options.spares));
  return Enter(members);
}

// Everybody in the job, spares too, learns who the others are.
absl::Status MpiRanks::MeetAll(const std::vector<int>& everybody,
                               std::chrono::milliseconds timeout) {
  members_ = everybody;
  rank_ = process_;
  timeout_ = timeout;
  FM_ASSIGN_OR_RETURN(identities_, AllGatherStrings(*this, own_.Encode(), {.phase = "set-up"}));
  timeout_ = kDefaultTimeout;
  return absl::OkStatus();
}

// The channel is that of the group `members`.
absl::Status MpiRanks::Enter(std::span<const int> members) {
  members_.assign(members.begin(), members.end());
  const auto me = std::find(members.begin(), members.end(), process_);
  rank_ = me == members.end() ? -1 : static_cast<int>(me - members.begin());
  if (rank_ < 0) return absl::OkStatus();
  std::vector<std::string> identities;
  for (const int member : members) identities.push_back(identities_[static_cast<size_t>(member)]);
  FM_ASSIGN_OR_RETURN(peers_, PeerProcesses::Create(identities, own_));
  backoff_.set_spin(peers_.on_this_host() * threads_per_rank_ <= sysconf(_SC_NPROCESSORS_ONLN));
  return channel().Listen();
}

// After a failure nothing is given back to MPI: requests of dead peers never end, and their
// communicators cannot be freed.
MpiRanks::~MpiRanks() {
  if (!broken_.ok() || peers_.empty() || channels_.size() > 1) return;
  channel().Free();
}

absl::Status MpiRanks::MpiFailure(const WaitLabel& label, const char* call, int error) const {
  return Unavailable("{}: {}: {}", WaitName(rank_, label), call, MpiErrorText(error));
}

// Breaks the communicator.
absl::Status MpiRanks::Fail(absl::Status error) {
  if (!broken_.ok()) return broken_;
  broken_ = std::move(error);
  for (MpiFlight& flight : flights_) flight.Withdraw();
  return broken_;
}

MpiFlight& MpiRanks::NewFlight(const WaitLabel& label, Exchange* exchange) {
  size_t slot = 0;
  while (slot < flights_.size() && flights_[slot].active) ++slot;
  if (slot == flights_.size()) flights_.emplace_back();
  MpiFlight& flight = flights_[slot];
  flight.Begin(label);
  exchange->slot = static_cast<int>(slot);
  return flight;
}

MpiRoute MpiRanks::RouteTo(int peer, int tag) {
  return {.comm = channel().data,
          .peer = peer,
          .process = process_of(peer),
          .tag = tag,
          .chunk_bytes = chunk_bytes_};
}

int MpiRanks::PostReceives(MpiFlight& flight, std::span<const MutableBytes> recv, int tag) {
  for (int q = 0; q < size(); ++q) {
    if (q == rank_) continue;
    const int error = flight.Receive(RouteTo(q, tag), recv[static_cast<size_t>(q)]);
    if (error != MPI_SUCCESS) return error;
  }
  return MPI_SUCCESS;
}

int MpiRanks::PostSends(MpiFlight& flight, std::span<const ConstBytes> send, int tag) {
  for (int step = 1; step < size(); ++step) {
    const int q = (rank_ + step) % size();  // not everybody to rank 0 first
    const int error = flight.Send(RouteTo(q, tag), send[static_cast<size_t>(q)]);
    if (error != MPI_SUCCESS) return error;
  }
  return MPI_SUCCESS;
}

absl::StatusOr<Exchange> MpiRanks::Start(std::span<const ConstBytes> send,
                                         std::span<const MutableBytes> recv,
                                         const WaitLabel& label) {
  FM_CHECK(send.size() == static_cast<size_t>(size()) && recv.size() == send.size());
  if (!broken_.ok()) return broken_;
  const ConstBytes own = send[static_cast<size_t>(rank_)];
  const MutableBytes own_copy = recv[static_cast<size_t>(rank_)];
  FM_CHECK(own.size() == own_copy.size());
  if (!own.empty()) std::memcpy(own_copy.data(), own.data(), own.size());

  Exchange exchange;
  MpiFlight& flight = NewFlight(label, &exchange);
  const int tag = static_cast<int>(next_sequence_++ % (int64_t{max_tag_} + 1));
  if (const int error = PostReceives(flight, recv, tag); error != MPI_SUCCESS) {
    return Fail(MpiFailure(label, "MPI_Irecv", error));
  }
  if (const int error = PostSends(flight, send, tag); error != MPI_SUCCESS) {
    return Fail(MpiFailure(label, "MPI_Isend", error));
  }
  if (completed_.size() < flight.requests.size()) {
    completed_.resize(flight.requests.size());
    statuses_.resize(flight.requests.size());
  }
  return exchange;
}

// True when all messages of the flight are done.
absl::StatusOr<bool> MpiRanks::Poll(MpiFlight& flight) {
  int count = 0;
  const int error = MPI_Testsome(static_cast<int>(flight.requests.size()), flight.requests.data(),
                                 &count, completed_.data(), statuses_.data());
  if (error != MPI_SUCCESS && error != MPI_ERR_IN_STATUS) {
    return MpiFailure(flight.label, "MPI_Testsome", error);
  }
  if (count == MPI_UNDEFINED) return true;  // no request is left
  FM_RETURN_IF_ERROR(CheckCompleted(flight, count, error == MPI_ERR_IN_STATUS));
  return std::all_of(flight.requests.begin(), flight.requests.end(),
                     [](MPI_Request request) { return request == MPI_REQUEST_NULL; });
}

// Errors and lengths of the first `count` entries of completed_ and statuses_.
absl::Status MpiRanks::CheckCompleted(const MpiFlight& flight, int count, bool in_status) {
  for (int i = 0; i < count; ++i) {
    const MPI_Status& status = statuses_[static_cast<size_t>(i)];
    const MpiPiece& piece = flight.pieces[static_cast<size_t>(completed_[static_cast<size_t>(i)])];
    int error_class = MPI_SUCCESS;
    if (in_status && status.MPI_ERROR != MPI_SUCCESS) {
      MPI_Error_class(status.MPI_ERROR, &error_class);
    }
    if (error_class == MPI_ERR_TRUNCATE) {
      return DataLoss("{}: {} sent more than the expected {} bytes", WaitName(rank_, flight.label),
                      peers_.Name(piece.peer), piece.bytes);
    }
    if (error_class != MPI_SUCCESS) {
      return Unavailable("{}: {} {}: {}", WaitName(rank_, flight.label),
                         piece.receive ? "receiving from" : "sending to", peers_.Name(piece.peer),
                         MpiErrorText(status.MPI_ERROR));
    }
    if (!piece.receive) continue;
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (bytes != piece.bytes) {
      return DataLoss("{}: {} sent {} bytes, expected {}", WaitName(rank_, flight.label),
                      peers_.Name(piece.peer), bytes, piece.bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status MpiRanks::CheckCancelled(const WaitLabel& label) const {
  if (first_valid_.load(std::memory_order_relaxed) <= group_) return absl::OkStatus();
  return Unavailable("{}: the group is made anew", WaitName(rank_, label));
}

// Did a peer say that it gave up?
absl::Status MpiRanks::CheckNotice(const WaitLabel& label) {
  if (channel().notice_request == MPI_REQUEST_NULL) return absl::OkStatus();
  int arrived = 0;
  MPI_Status status;
  const int error = MPI_Test(&channel().notice_request, &arrived, &status);
  if (error != MPI_SUCCESS) return MpiFailure(label, "MPI_Test", error);
  if (arrived == 0) return absl::OkStatus();
  int bytes = 0;
  MPI_Get_count(&status, MPI_CHAR, &bytes);
  const auto from = std::find(members_.begin(), members_.end(), status.MPI_SOURCE);
  return Unavailable("{}: {} gave up: {}", WaitName(rank_, label),
                     peers_.Name(static_cast<int>(from - members_.begin())),
                     std::string_view(channel().notice_in.data(), static_cast<size_t>(bytes)));
}

// Is a peer on this host dead? Its last messages, data or notice, may be here already: they count
// first.
absl::Status MpiRanks::CheckPeersOf(MpiFlight& flight) {
  const int gone = peers_.FirstGone();
  if (gone < 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const bool done, Poll(flight));
  if (done) return absl::OkStatus();
  FM_RETURN_IF_ERROR(CheckNotice(flight.label));
  return Unavailable("{}: {} is gone", WaitName(rank_, flight.label), peers_.Name(gone));
}

// The error of a passed deadline.
absl::Status MpiRanks::Missing(const MpiFlight& flight) {
  std::set<int> silent;
  std::set<int> deaf;
  for (size_t i = 0; i < flight.requests.size(); ++i) {
    if (flight.requests[i] == MPI_REQUEST_NULL) continue;
    (flight.pieces[i].receive ? silent : deaf).insert(flight.pieces[i].peer);
  }
  const bool receiving = !silent.empty();
  const std::set<int>& missing = receiving ? silent : deaf;
  std::string names;
  for (const int peer : missing) names += (names.empty() ? "" : "; ") + peers_.Name(peer);
  return DeadlineExceeded("{}: {} {} within {} ({})", WaitName(rank_, flight.label),
                          receiving ? "no data from" : "data not taken by",
                          FormatRanks({missing.begin(), missing.end()}), FormatDuration(timeout_),
                          names);
}

absl::Status MpiRanks::Wait(Exchange exchange) {
  if (!broken_.ok()) return broken_;
  FM_CHECK(exchange.slot >= 0 && static_cast<size_t>(exchange.slot) < flights_.size());
  MpiFlight& flight = flights_[static_cast<size_t>(exchange.slot)];
  FM_CHECK(flight.active);
  backoff_.Begin();
  Clock::duration next_check = kPeerCheckInterval;
  while (true) {
    const absl::StatusOr<bool> done = Poll(flight);
    if (!done.ok()) return Fail(done.status());
    if (*done) break;
    if (absl::Status cancelled = CheckCancelled(flight.label); !cancelled.ok()) {
      return Fail(cancelled);
    }
    const Clock::duration waited = backoff_.Pause();
    if (waited > kNoticeDelay) {
      if (absl::Status notice = CheckNotice(flight.label); !notice.ok()) return Fail(notice);
    }
    if (waited >= next_check) {
      if (absl::Status peers = CheckPeersOf(flight); !peers.ok()) return Fail(peers);
      next_check = waited + kPeerCheckInterval;
    }
    if (waited >= timeout_) return Fail(Missing(flight));
  }
  flight.active = false;
  return absl::OkStatus();
}

absl::Status MpiRanks::CheckPeers(const WaitLabel& label) {
  if (!broken_.ok()) return broken_;
  if (absl::Status cancelled = CheckCancelled(label); !cancelled.ok()) return Fail(cancelled);
  if (absl::Status notice = CheckNotice(label); !notice.ok()) return Fail(notice);
  const int gone = peers_.empty() ? -1 : peers_.FirstGone();
  if (gone < 0) return absl::OkStatus();
  // What it said at the end counts first.
  if (absl::Status notice = CheckNotice(label); !notice.ok()) return Fail(notice);
  return Fail(Unavailable("{}: {} is gone", WaitName(rank_, label), peers_.Name(gone)));
}

void MpiRanks::Abandon(const absl::Status& reason) {
  if (abandoned_) return;
  abandoned_ = true;
  Fail(reason.ok() ? Unavailable("rank {} gave up", rank_) : reason).IgnoreError();
  const std::string_view text = Message(broken_);
  const size_t bytes = std::min(text.size(), MpiChannel::kNoticeBytes);
  std::memcpy(channel().notice_out.data(), text.data(), bytes);
  std::vector<MPI_Request> sends;
  for (int q = 0; q < size(); ++q) {
    if (q == rank_ || peers_.empty() || peers_.Gone(q)) continue;
    sends.push_back(MPI_REQUEST_NULL);
    if (MPI_Isend(channel().notice_out.data(), static_cast<int>(bytes), MPI_CHAR, process_of(q),
                  MpiChannel::kNoticeTag, channel().notices, &sends.back()) != MPI_SUCCESS) {
      sends.pop_back();
    }
  }
  backoff_.Begin();
  int done = 0;
  while (done == 0 && backoff_.Pause() < kAbandonTime) {
    if (MPI_Testall(static_cast<int>(sends.size()), sends.data(), &done, MPI_STATUSES_IGNORE) !=
        MPI_SUCCESS) {
      return;
    }
  }
}

absl::Status MpiRanks::AwaitQuiet() {
  Fail(Unavailable("rank {}: the group is made anew", rank_)).IgnoreError();
  backoff_.Begin();
  while (true) {
    const Clock::duration waited = backoff_.Pause();
    // A receive that met its message ends when the sender lives. Of a dead sender on this host
    // nothing comes once what it had sent is taken. What came from another host cannot be known.
    const auto over = [&](int peer) { return waited > kDrainTime && peers_.Gone(peer); };
    bool quiet = true;
    for (MpiFlight& flight : flights_) quiet = flight.Quiet(over) && quiet;
    if (quiet) return absl::OkStatus();
    if (waited < kQuietTime) continue;
    return DeadlineExceeded("rank {}: messages of the old group have not ended within {}", rank_,
                            FormatDuration(kQuietTime));
  }
}

absl::Status MpiRanks::Regroup(int group, std::span<const int> members) {
  if (group <= group_ || group >= channels_.size()) {
    return FailedPrecondition("the ranks are group {} and may become {} to {}, not {}", group_,
                              group_ + 1, channels_.size() - 1, group);
  }
  for (const int member : members) {
    if (member < 0 || static_cast<size_t>(member) >= identities_.size()) {
      return InvalidArgument("process {} is none of {}", member, identities_.size());
    }
  }
  if (rank_ >= 0) FM_RETURN_IF_ERROR(AwaitQuiet());
  group_ = group;
  flights_.clear();  // what is left of their requests is MPI's for ever
  next_sequence_ = 0;
  broken_ = absl::OkStatus();
  abandoned_ = false;
  return Enter(members);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MpiCommunicator>> MakeMpiCommunicator(
    const MpiCommunicatorOptions& options) {
  auto communicator = std::make_unique<MpiRanks>(options);
  FM_RETURN_IF_ERROR(communicator->SetUp(options));
  return communicator;
}

}  // namespace folkmoot
