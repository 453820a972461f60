// SPDX-License-Identifier: Apache-2.0
// Main functions: MpiCommunicator::Start posts the messages of one exchange, Wait polls them until
// they are done, the deadline passes, a peer dies, or a peer says that it gave up.
#include "parallel/mpi_communicator.h"

#include <mpi.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <set>

#include "parallel/backoff.h"
#include "parallel/peer_process.h"
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
constexpr size_t kNoticeBytes = 1024;
constexpr int kNoticeTag = 0;

std::string MpiErrorText(int error) {
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  return std::string(text.data(), static_cast<size_t>(length));
}

// One MPI message: a whole byte range or a chunk of it.
struct Piece {
  int peer = 0;
  bool receive = false;
  int bytes = 0;
};

// One exchange under way. Flights form a pool; their vectors keep their capacity.
struct Flight {
  bool active = false;
  WaitLabel label;
  std::vector<MPI_Request> requests;
  std::vector<Piece> pieces;  // of the same index as the request
};

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const MpiCommunicatorOptions& options)
      : chunk_bytes_(options.chunk_bytes) {}
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  absl::Status SetUp(const MpiCommunicatorOptions& options);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override;
  absl::Status Wait(Exchange exchange) override;
  absl::Status CheckPeers(const WaitLabel& label) override;
  void set_timeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }
  std::chrono::milliseconds timeout() const override { return timeout_; }
  void Abandon(const absl::Status& reason) override;

 private:
  absl::Status Duplicate(MPI_Comm* copy, std::chrono::milliseconds timeout);
  absl::Status MeetPeers(const MpiCommunicatorOptions& options);
  Flight& NewFlight(const WaitLabel& label, Exchange* exchange);
  int PostReceives(Flight& flight, std::span<const MutableBytes> recv, int tag);
  int PostSends(Flight& flight, std::span<const ConstBytes> send, int tag);
  absl::StatusOr<bool> Poll(Flight& flight);
  absl::Status CheckCompleted(const Flight& flight, int count, bool in_status);
  absl::Status CheckNotice(const WaitLabel& label);
  absl::Status CheckPeersOf(Flight& flight);
  absl::Status Missing(const Flight& flight);
  absl::Status MpiFailure(const WaitLabel& label, const char* call, int error) const;
  absl::Status Fail(absl::Status error);

  const int64_t chunk_bytes_;
  MPI_Comm data_ = MPI_COMM_NULL;
  MPI_Comm notices_ = MPI_COMM_NULL;  // apart, so that a wildcard receive meets no data
  int rank_ = 0;
  int size_ = 1;
  int max_tag_ = 32767;
  Backoff backoff_;
  std::chrono::milliseconds timeout_ = kDefaultTimeout;
  absl::Status broken_;

  std::deque<Flight> flights_;
  int64_t next_sequence_ = 0;
  std::vector<int> completed_;        // scratch of Poll
  std::vector<MPI_Status> statuses_;  // scratch of Poll
  PeerProcesses peers_;

  MPI_Request notice_request_ = MPI_REQUEST_NULL;
  std::array<char, kNoticeBytes> notice_in_{};
  std::array<char, kNoticeBytes> notice_out_{};
  bool abandoned_ = false;
};

absl::Status MpiCommunicator::SetUp(const MpiCommunicatorOptions& options) {
  FM_CHECK(chunk_bytes_ > 0 && chunk_bytes_ <= int64_t{1} << 30);
  // Sleeps of this thread end on time; the system would add 50 us.
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  FM_RETURN_IF_ERROR(Duplicate(&data_, options.setup_timeout));
  FM_RETURN_IF_ERROR(Duplicate(&notices_, options.setup_timeout));
  int* max_tag = nullptr;
  int found = 0;
  MPI_Comm_get_attr(data_, MPI_TAG_UB, &max_tag, &found);
  if (found != 0) max_tag_ = *max_tag;
  const int error = MPI_Irecv(notice_in_.data(), static_cast<int>(kNoticeBytes), MPI_CHAR,
                              MPI_ANY_SOURCE, kNoticeTag, notices_, &notice_request_);
  if (error != MPI_SUCCESS) return MpiFailure({.phase = "set-up"}, "MPI_Irecv", error);
  return MeetPeers(options);
}

// MPI_Comm_dup with a deadline.
absl::Status MpiCommunicator::Duplicate(MPI_Comm* copy, std::chrono::milliseconds timeout) {
  const WaitLabel label{.phase = "set-up"};
  MPI_Request request = MPI_REQUEST_NULL;
  int error = MPI_Comm_idup(MPI_COMM_WORLD, copy, &request);
  if (error != MPI_SUCCESS) return MpiFailure(label, "MPI_Comm_idup", error);
  backoff_.Begin();
  int done = 0;
  while (true) {
    error = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (error != MPI_SUCCESS) return MpiFailure(label, "MPI_Test", error);
    if (done != 0) break;
    if (backoff_.Pause() > timeout) {
      return DeadlineExceeded("{}: not all of {} ranks came within {}", WaitName(rank_, label),
                              size_, FormatDuration(timeout));
    }
  }
  MPI_Comm_set_errhandler(*copy, MPI_ERRORS_RETURN);
  return absl::OkStatus();
}

absl::Status MpiCommunicator::MeetPeers(const MpiCommunicatorOptions& options) {
  const ProcessIdentity own = ProcessIdentity::Own();
  timeout_ = options.setup_timeout;
  FM_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                      AllGatherStrings(*this, own.Encode(), {.phase = "set-up"}));
  timeout_ = kDefaultTimeout;
  FM_ASSIGN_OR_RETURN(peers_, PeerProcesses::Create(all, own));
  backoff_.set_spin(peers_.on_this_host() * options.threads_per_rank <=
                    sysconf(_SC_NPROCESSORS_ONLN));
  return absl::OkStatus();
}

// After a failure nothing is given back to MPI: requests of dead peers never end, and their
// communicators cannot be freed.
MpiCommunicator::~MpiCommunicator() {
  if (!broken_.ok() || peers_.empty()) return;
  MPI_Cancel(&notice_request_);
  // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): who has peers has posted the receive
  MPI_Wait(&notice_request_, MPI_STATUS_IGNORE);
  MPI_Comm_free(&notices_);
  MPI_Comm_free(&data_);
}

absl::Status MpiCommunicator::MpiFailure(const WaitLabel& label, const char* call,
                                         int error) const {
  return Unavailable("{}: {}: {}", WaitName(rank_, label), call, MpiErrorText(error));
}

// Breaks the communicator. Receives that are still open are withdrawn, since their memory may be
// freed once the caller has the error; sends cannot be.
absl::Status MpiCommunicator::Fail(absl::Status error) {
  if (!broken_.ok()) return broken_;
  broken_ = std::move(error);
  for (Flight& flight : flights_) {
    if (!flight.active) continue;
    for (size_t i = 0; i < flight.requests.size(); ++i) {
      if (!flight.pieces[i].receive || flight.requests[i] == MPI_REQUEST_NULL) continue;
      MPI_Cancel(&flight.requests[i]);
      int done = 0;
      MPI_Test(&flight.requests[i], &done, MPI_STATUS_IGNORE);
    }
  }
  return broken_;
}

Flight& MpiCommunicator::NewFlight(const WaitLabel& label, Exchange* exchange) {
  size_t slot = 0;
  while (slot < flights_.size() && flights_[slot].active) ++slot;
  if (slot == flights_.size()) flights_.emplace_back();
  Flight& flight = flights_[slot];
  flight.active = true;
  flight.label = label;
  flight.requests.clear();
  flight.pieces.clear();
  exchange->slot = static_cast<int>(slot);
  return flight;
}

int MpiCommunicator::PostReceives(Flight& flight, std::span<const MutableBytes> recv, int tag) {
  for (int q = 0; q < size_; ++q) {
    if (q == rank_) continue;
    MutableBytes range = recv[static_cast<size_t>(q)];
    while (!range.empty()) {
      const size_t bytes = std::min(range.size(), static_cast<size_t>(chunk_bytes_));
      flight.pieces.push_back({q, /*receive=*/true, static_cast<int>(bytes)});
      flight.requests.push_back(MPI_REQUEST_NULL);
      const int error = MPI_Irecv(range.data(), static_cast<int>(bytes), MPI_BYTE, q, tag, data_,
                                  &flight.requests.back());
      if (error != MPI_SUCCESS) return error;
      range = range.subspan(bytes);
    }
  }
  return MPI_SUCCESS;
}

// Chunks of one message share a tag: MPI keeps their order.
int MpiCommunicator::PostSends(Flight& flight, std::span<const ConstBytes> send, int tag) {
  for (int step = 1; step < size_; ++step) {
    const int q = (rank_ + step) % size_;  // not everybody to rank 0 first
    ConstBytes range = send[static_cast<size_t>(q)];
    while (!range.empty()) {
      const size_t bytes = std::min(range.size(), static_cast<size_t>(chunk_bytes_));
      flight.pieces.push_back({q, /*receive=*/false, static_cast<int>(bytes)});
      flight.requests.push_back(MPI_REQUEST_NULL);
      const int error = MPI_Isend(range.data(), static_cast<int>(bytes), MPI_BYTE, q, tag, data_,
                                  &flight.requests.back());
      if (error != MPI_SUCCESS) return error;
      range = range.subspan(bytes);
    }
  }
  return MPI_SUCCESS;
}

absl::StatusOr<Exchange> MpiCommunicator::Start(std::span<const ConstBytes> send,
                                                std::span<const MutableBytes> recv,
                                                const WaitLabel& label) {
  FM_CHECK(send.size() == static_cast<size_t>(size_) && recv.size() == send.size());
  if (!broken_.ok()) return broken_;
  const ConstBytes own = send[static_cast<size_t>(rank_)];
  const MutableBytes own_copy = recv[static_cast<size_t>(rank_)];
  FM_CHECK(own.size() == own_copy.size());
  if (!own.empty()) std::memcpy(own_copy.data(), own.data(), own.size());

  Exchange exchange;
  Flight& flight = NewFlight(label, &exchange);
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
absl::StatusOr<bool> MpiCommunicator::Poll(Flight& flight) {
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
absl::Status MpiCommunicator::CheckCompleted(const Flight& flight, int count, bool in_status) {
  for (int i = 0; i < count; ++i) {
    const MPI_Status& status = statuses_[static_cast<size_t>(i)];
    const Piece& piece = flight.pieces[static_cast<size_t>(completed_[static_cast<size_t>(i)])];
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

// Did a peer say that it gave up?
absl::Status MpiCommunicator::CheckNotice(const WaitLabel& label) {
  if (notice_request_ == MPI_REQUEST_NULL) return absl::OkStatus();
  int arrived = 0;
  MPI_Status status;
  const int error = MPI_Test(&notice_request_, &arrived, &status);
  if (error != MPI_SUCCESS) return MpiFailure(label, "MPI_Test", error);
  if (arrived == 0) return absl::OkStatus();
  int bytes = 0;
  MPI_Get_count(&status, MPI_CHAR, &bytes);
  return Unavailable("{}: {} gave up: {}", WaitName(rank_, label), peers_.Name(status.MPI_SOURCE),
                     std::string_view(notice_in_.data(), static_cast<size_t>(bytes)));
}

// Is a peer on this host dead? Its last messages, data or notice, may be here already: they count
// first.
absl::Status MpiCommunicator::CheckPeersOf(Flight& flight) {
  const int gone = peers_.FirstGone();
  if (gone < 0) return absl::OkStatus();
  FM_ASSIGN_OR_RETURN(const bool done, Poll(flight));
  if (done) return absl::OkStatus();
  FM_RETURN_IF_ERROR(CheckNotice(flight.label));
  return Unavailable("{}: {} is gone", WaitName(rank_, flight.label), peers_.Name(gone));
}

// The error of a passed deadline.
absl::Status MpiCommunicator::Missing(const Flight& flight) {
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

absl::Status MpiCommunicator::Wait(Exchange exchange) {
  if (!broken_.ok()) return broken_;
  FM_CHECK(exchange.slot >= 0 && static_cast<size_t>(exchange.slot) < flights_.size());
  Flight& flight = flights_[static_cast<size_t>(exchange.slot)];
  FM_CHECK(flight.active);
  backoff_.Begin();
  Clock::duration next_check = kPeerCheckInterval;
  while (true) {
    const absl::StatusOr<bool> done = Poll(flight);
    if (!done.ok()) return Fail(done.status());
    if (*done) break;
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

absl::Status MpiCommunicator::CheckPeers(const WaitLabel& label) {
  if (!broken_.ok()) return broken_;
  if (absl::Status notice = CheckNotice(label); !notice.ok()) return Fail(notice);
  const int gone = peers_.empty() ? -1 : peers_.FirstGone();
  if (gone < 0) return absl::OkStatus();
  // What it said at the end counts first.
  if (absl::Status notice = CheckNotice(label); !notice.ok()) return Fail(notice);
  return Fail(Unavailable("{}: {} is gone", WaitName(rank_, label), peers_.Name(gone)));
}

void MpiCommunicator::Abandon(const absl::Status& reason) {
  if (abandoned_) return;
  abandoned_ = true;
  Fail(reason.ok() ? Unavailable("rank {} gave up", rank_) : reason).IgnoreError();
  const std::string_view text = Message(broken_);
  const size_t bytes = std::min(text.size(), kNoticeBytes);
  std::memcpy(notice_out_.data(), text.data(), bytes);
  std::vector<MPI_Request> sends;
  for (int q = 0; q < size_; ++q) {
    if (q == rank_ || peers_.empty() || peers_.Gone(q)) continue;
    sends.push_back(MPI_REQUEST_NULL);
    if (MPI_Isend(notice_out_.data(), static_cast<int>(bytes), MPI_CHAR, q, kNoticeTag, notices_,
                  &sends.back()) != MPI_SUCCESS) {
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

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeMpiCommunicator(
    const MpiCommunicatorOptions& options) {
  auto communicator = std::make_unique<MpiCommunicator>(options);
  FM_RETURN_IF_ERROR(communicator->SetUp(options));
  return communicator;
}

}  // namespace folkmoot
