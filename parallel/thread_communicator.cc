// SPDX-License-Identifier: Apache-2.0
// The ranks share a hub. Start leaves the rank's ranges there; of each pair of ranks the one that
// starts an exchange second copies both ways at once, so no rank depends on the other being inside
// Wait. Main functions: ThreadCommunicator::Start, Wait.
#include "parallel/thread_communicator.h"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::seconds(30);

// One exchange of one rank, from its Start to the end of its Wait.
struct Flight {
  bool active = false;
  int64_t sequence = 0;
  WaitLabel label;
  std::vector<ConstBytes> send;    // by peer
  std::vector<MutableBytes> recv;  // by peer
  std::vector<char> pending;       // by peer: something is still to be copied
  int pending_peers = 0;
  int copying = 0;  // copies by this rank or its peers that touch the ranges right now
};

struct RankState {
  std::deque<Flight> flights;  // a pool: flights are never moved or freed
  int64_t next_sequence = 0;
  bool gone = false;
  absl::Status notice;  // what a peer told us, before we looked
  absl::Status broken;  // the error that every call returns
  std::condition_variable changed;
};

struct Hub {
  explicit Hub(int ranks) : rank(static_cast<size_t>(ranks)) {}

  std::mutex mutex;
  std::deque<RankState> rank;
};

// What `rank` and its peer `q` disagree about, as `rank` sees it.
std::string LengthsDiffer(const Flight& mine, size_t q, const Flight& theirs, size_t rank) {
  return fmt::format(
      "lengths differ: {} bytes go to rank {}, which expects {}; {} bytes are expected from it, "
      "which sends {}",
      mine.send[q].size(), q, theirs.recv[rank].size(), mine.recv[q].size(),
      theirs.send[rank].size());
}

void CopyBytes(ConstBytes from, MutableBytes to) {
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {
    matched_.reserve(hub_->rank.size());
  }
  ~ThreadCommunicator() override;
  ThreadCommunicator(const ThreadCommunicator&) = delete;
  ThreadCommunicator& operator=(const ThreadCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_->rank.size()); }
  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override;
  absl::Status Wait(Exchange exchange) override;
  absl::Status CheckPeers(const WaitLabel& label) override;
  void set_timeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }
  std::chrono::milliseconds timeout() const override { return timeout_; }
  void Abandon(const absl::Status& reason) override;

 private:
  struct Match {
    size_t peer;
    Flight* theirs;
  };
  using Lock = std::unique_lock<std::mutex>;

  RankState& Mine() { return hub_->rank[static_cast<size_t>(rank_)]; }
  size_t NewFlight(std::span<const ConstBytes> send, std::span<const MutableBytes> recv,
                   const WaitLabel& label);
  absl::Status MatchPeers(Flight& mine);
  void CopyMatched(Lock& lock, Flight& mine);
  absl::Status CheckBroken(const WaitLabel& label);
  absl::Status Leave(Lock& lock, absl::Status error);

  const std::shared_ptr<Hub> hub_;
  const int rank_;
  std::chrono::milliseconds timeout_ = kDefaultTimeout;
  std::vector<Match> matched_;  // scratch of Start
};

Flight* FindFlight(RankState& rank, int64_t sequence) {
  for (Flight& flight : rank.flights) {
    if (flight.active && flight.sequence == sequence) return &flight;
  }
  return nullptr;
}

ThreadCommunicator::~ThreadCommunicator() {
  Lock lock(hub_->mutex);
  Mine().gone = true;
  Leave(lock, Unavailable("rank {} is gone", rank_)).IgnoreError();
  for (RankState& peer : hub_->rank) {
    for (const Flight& flight : peer.flights) {
      if (flight.active && flight.pending[static_cast<size_t>(rank_)] && peer.notice.ok()) {
        peer.notice = Unavailable("rank {} is gone", rank_);
      }
    }
    peer.changed.notify_all();
  }
}

// Takes a flight from the pool and fills it. Its index is the slot of the Exchange.
size_t ThreadCommunicator::NewFlight(std::span<const ConstBytes> send,
                                     std::span<const MutableBytes> recv, const WaitLabel& label) {
  std::deque<Flight>& pool = Mine().flights;
  size_t slot = 0;
  while (slot < pool.size() && pool[slot].active) ++slot;
  if (slot == pool.size()) pool.emplace_back();
  Flight& flight = pool[slot];
  flight.active = true;
  flight.sequence = Mine().next_sequence++;
  flight.label = label;
  flight.send.assign(send.begin(), send.end());
  flight.recv.assign(recv.begin(), recv.end());
  flight.pending.assign(send.size(), 0);
  flight.pending_peers = 0;
  for (size_t q = 0; q < send.size(); ++q) {
    if (q == static_cast<size_t>(rank_) || (send[q].empty() && recv[q].empty())) continue;
    flight.pending[q] = 1;
    ++flight.pending_peers;
  }
  return slot;
}

// Finds the peers that have started this exchange already and lists them in matched_.
absl::Status ThreadCommunicator::MatchPeers(Flight& mine) {
  const size_t me = static_cast<size_t>(rank_);
  matched_.clear();
  for (size_t q = 0; q < mine.send.size(); ++q) {
    if (q == me) continue;
    RankState& peer = hub_->rank[q];
    Flight* theirs = FindFlight(peer, mine.sequence);
    if (theirs == nullptr) {
      if (!mine.pending[q]) continue;
      // A peer that left the exchange while we have bytes for each other expected none.
      if (peer.next_sequence > mine.sequence && peer.broken.ok()) {
        return DataLoss(
            "{}: lengths differ: {} bytes go to rank {} and {} are expected from it, but it has "
            "nothing to exchange",
            WaitName(rank_, mine.label), mine.send[q].size(), q, mine.recv[q].size());
      }
      if (peer.gone) {
        return Unavailable("{}: rank {} is gone", WaitName(rank_, mine.label), q);
      }
      continue;
    }
    if (mine.send[q].size() != theirs->recv[me].size() ||
        mine.recv[q].size() != theirs->send[me].size()) {
      if (peer.notice.ok()) peer.notice = DataLoss("{}", LengthsDiffer(*theirs, me, mine, q));
      peer.changed.notify_all();
      return DataLoss("{}: {}", WaitName(rank_, mine.label), LengthsDiffer(mine, q, *theirs, me));
    }
    if (mine.pending[q]) matched_.push_back({q, theirs});
  }
  return absl::OkStatus();
}

// Copies both ways between `mine` and every matched flight, outside the lock.
void ThreadCommunicator::CopyMatched(Lock& lock, Flight& mine) {
  const size_t me = static_cast<size_t>(rank_);
  if (matched_.empty()) return;
  for (const Match& match : matched_) ++match.theirs->copying;
  ++mine.copying;
  lock.unlock();
  for (const Match& match : matched_) {
    CopyBytes(mine.send[match.peer], match.theirs->recv[me]);
    CopyBytes(match.theirs->send[me], mine.recv[match.peer]);
  }
  lock.lock();
  --mine.copying;
  for (const Match& match : matched_) {
    --match.theirs->copying;
    match.theirs->pending[me] = 0;
    --match.theirs->pending_peers;
    mine.pending[match.peer] = 0;
    --mine.pending_peers;
    hub_->rank[match.peer].changed.notify_all();
  }
  Mine().changed.notify_all();
}

absl::Status ThreadCommunicator::CheckBroken(const WaitLabel& label) {
  RankState& mine = Mine();
  if (mine.broken.ok() && !mine.notice.ok()) {
    mine.broken = Annotate(mine.notice, WaitName(rank_, label));
  }
  return mine.broken;
}

// Breaks this rank's communicator. When it returns, no peer touches this rank's ranges any more.
absl::Status ThreadCommunicator::Leave(Lock& lock, absl::Status error) {
  RankState& mine = Mine();
  if (mine.broken.ok()) mine.broken = std::move(error);
  for (Flight& flight : mine.flights) {
    flight.active = false;
    mine.changed.wait(lock, [&flight] { return flight.copying == 0; });
  }
  return mine.broken;
}

absl::StatusOr<Exchange> ThreadCommunicator::Start(std::span<const ConstBytes> send,
                                                   std::span<const MutableBytes> recv,
                                                   const WaitLabel& label) {
  const size_t me = static_cast<size_t>(rank_);
  FM_CHECK(send.size() == hub_->rank.size() && recv.size() == hub_->rank.size());
  FM_CHECK(send[me].size() == recv[me].size());
  if (size() == 1) {
    if (!Mine().broken.ok()) return Mine().broken;
    CopyBytes(send[0], recv[0]);
    return Exchange{0};
  }
  CopyBytes(send[me], recv[me]);
  Lock lock(hub_->mutex);
  if (absl::Status broken = CheckBroken(label); !broken.ok()) return Leave(lock, broken);
  const size_t slot = NewFlight(send, recv, label);
  Flight& mine = Mine().flights[slot];
  if (absl::Status matched = MatchPeers(mine); !matched.ok()) return Leave(lock, matched);
  CopyMatched(lock, mine);
  return Exchange{static_cast<int>(slot)};
}

absl::Status ThreadCommunicator::Wait(Exchange exchange) {
  if (size() == 1) return Mine().broken;
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  Lock lock(hub_->mutex);
  RankState& mine = Mine();
  if (!mine.broken.ok()) return mine.broken;
  FM_CHECK(exchange.slot >= 0 && static_cast<size_t>(exchange.slot) < mine.flights.size());
  Flight& flight = mine.flights[static_cast<size_t>(exchange.slot)];
  FM_CHECK(flight.active);
  const bool in_time = mine.changed.wait_until(lock, deadline, [&] {
    return flight.copying == 0 && (flight.pending_peers == 0 || !mine.notice.ok());
  });
  if (flight.pending_peers == 0) {
    flight.active = false;
    return absl::OkStatus();
  }
  if (absl::Status broken = CheckBroken(flight.label); !broken.ok()) return Leave(lock, broken);
  FM_CHECK(!in_time);
  std::vector<int> missing;
  for (size_t q = 0; q < flight.pending.size(); ++q) {
    if (flight.pending[q]) missing.push_back(static_cast<int>(q));
  }
  return Leave(lock,
               DeadlineExceeded("{}: no data from {} within {}", WaitName(rank_, flight.label),
                                FormatRanks(missing), FormatDuration(timeout_)));
}

absl::Status ThreadCommunicator::CheckPeers(const WaitLabel& label) {
  Lock lock(hub_->mutex);
  if (absl::Status broken = CheckBroken(label); !broken.ok()) return Leave(lock, broken);
  for (size_t q = 0; q < hub_->rank.size(); ++q) {
    if (!hub_->rank[q].gone) continue;
    return Leave(lock, Unavailable("{}: rank {} is gone", WaitName(rank_, label), q));
  }
  return absl::OkStatus();
}

void ThreadCommunicator::Abandon(const absl::Status& reason) {
  Lock lock(hub_->mutex);
  const absl::Status notice = Unavailable("rank {} gave up: {}", rank_, Message(reason));
  for (RankState& peer : hub_->rank) {
    if (&peer == &Mine()) continue;
    if (peer.notice.ok()) peer.notice = notice;
    peer.changed.notify_all();
  }
  Leave(lock, reason.ok() ? notice : reason).IgnoreError();
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeThreadCommunicators(int ranks) {
  FM_CHECK(ranks >= 1);
  const auto hub = std::make_shared<Hub>(ranks);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < ranks; ++rank) {
    communicators.push_back(std::make_unique<ThreadCommunicator>(hub, rank));
  }
  return communicators;
}

}  // namespace folkmoot
