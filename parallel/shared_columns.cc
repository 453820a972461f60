// SPDX-License-Identifier: Apache-2.0
// Ranks of one host gather columns without copying them: the matrices lie in memory that all ranks
// have mapped, each rank writes its columns where they belong, and a gather is a barrier.
//
//   [ seat of rank 0 | seat of rank 1 | ... | half A: matrices | half B: matrices ]
//
// A seat says how many gathers its rank has come to. The halves are used in turn: a rank that
// writes for gather n + 2 has passed gather n + 1, to which every rank comes only when it has read
// what gather n brought.
//
// A waiting rank spins briefly, then yields, then sleeps on the seat of the rank that is missing (a
// futex), which wakes it. Every 50 ms it looks whether its peers are alive.
//
// The memory has no name that could be left behind: rank 0 makes it with memfd_create, the others
// open it through /proc, and the kernel frees it with the last rank.
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>
#include <ctime>
#include <random>
#include <utility>
#include <vector>

#include "parallel/backoff.h"
#include "parallel/column_exchange.h"
#include "parallel/peer_process.h"
#include "runtime/check.h"

namespace folkmoot {
namespace {

constexpr std::chrono::milliseconds kPeerCheckInterval(50);
constexpr int64_t kPage = 4096;
constexpr int64_t kAlignFloats = 16;  // 64 bytes

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Two lines of the cache, so that ranks do not disturb each other.
struct alignas(128) Seat {
  std::atomic<uint32_t> arrived;   // gathers that the rank has come to
  std::atomic<uint32_t> sleepers;  // ranks that sleep until it changes
  std::atomic<uint64_t> what[2];   // of odd and even gathers: what it brought
  std::atomic<uint64_t> nonce;     // on rank 0's: is this the memory that was meant?
};
static_assert(std::atomic<uint64_t>::is_always_lock_free &&
              sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

void FutexWait(std::atomic<uint32_t>& word, uint32_t value, std::chrono::nanoseconds limit) {
  const timespec timeout = {.tv_sec = static_cast<time_t>(limit.count() / 1'000'000'000),
                            .tv_nsec = static_cast<long>(limit.count() % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &timeout, nullptr, 0);
}

void FutexWakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Memory that is mapped for as long as this lives.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int fd, int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    void* const data =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (data != MAP_FAILED) data_ = static_cast<std::byte*>(data);
  }
  ~Mapping() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

class SharedColumns final : public ColumnExchange {
 public:
  SharedColumns(Communicator& comm, Mapping mapping, int64_t floats, bool spin)
      : comm_(comm), mapping_(std::move(mapping)), floats_(floats) {
    backoff_.set_spin(spin);
  }

  static int64_t SeatBytes(int ranks) {
    return RoundUp(ranks * static_cast<int64_t>(sizeof(Seat)), kPage);
  }
  static int64_t Bytes(int ranks, int64_t floats) {
    return SeatBytes(ranks) + 2 * floats * static_cast<int64_t>(sizeof(float));
  }
  static Seat& SeatOf(const Mapping& mapping, int rank) {
    return reinterpret_cast<Seat*>(mapping.data())[rank];
  }

  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }

  Matrix Take(int64_t rows, const ColumnSplit& split) override {
    FM_CHECK(split.ranks() == size());
    auto* const half =
        reinterpret_cast<float*>(mapping_.data() + SeatBytes(size())) + (count_ % 2) * floats_;
    float* const data = half + used_;
    used_ += RoundUp(rows * split.cols(), kAlignFloats);
    FM_CHECK(used_ <= floats_);
    return {data, rows, split.cols()};
  }

  absl::Status Gather(const WaitLabel& label) override {
    FM_RETURN_IF_ERROR(broken_);
    // Step, layer and size: ranks that are not at the same place find out.
    const uint64_t what = static_cast<uint64_t>(label.step) * 0x9e3779b97f4a7c15u +
                          static_cast<uint64_t>(label.layer) * 0xc2b2ae3d27d4eb4fu +
                          static_cast<uint64_t>(used_);
    Arrive(what);
    const Backoff::Clock::time_point begin = Backoff::Clock::now();
    backoff_.Begin();
    for (int q = 0; q < size(); ++q) {
      if (q == rank()) continue;
      if (absl::Status waited = Await(q, begin, label); !waited.ok()) return broken_ = waited;
      const uint64_t theirs = SeatOf(mapping_, q).what[count_ % 2].load(std::memory_order_relaxed);
      if (theirs == what) continue;
      return broken_ =
                 DataLoss("{}: rank {} is at another step or layer", WaitName(rank(), label), q);
    }
    used_ = 0;
    return absl::OkStatus();
  }

 private:
  void Arrive(uint64_t what) {
    ++count_;
    Seat& mine = SeatOf(mapping_, rank());
    mine.what[count_ % 2].store(what, std::memory_order_relaxed);
    mine.arrived.store(count_, std::memory_order_seq_cst);
    if (mine.sleepers.load(std::memory_order_seq_cst) > 0) FutexWakeAll(mine.arrived);
  }

  // Gathers are counted modulo 2^32, and ranks are at most one apart.
  bool Here(int q) const {
    return static_cast<int32_t>(SeatOf(mapping_, q).arrived.load(std::memory_order_acquire) -
                                count_) >= 0;
  }

  absl::Status Await(int q, Backoff::Clock::time_point begin, const WaitLabel& label) {
    bool told = false;
    absl::Status status = Await(q, begin, label, &told);
    if (told) comm_.EndOtherWait();
    return status;
  }

  absl::Status Await(int q, Backoff::Clock::time_point begin, const WaitLabel& label, bool* told) {
    while (true) {
      for (int i = 0; i < 32; ++i) {
        if (Here(q)) return absl::OkStatus();
      }
      if (backoff_.PauseAwake()) continue;
      Sleep(q);
      if (Here(q)) return absl::OkStatus();
      const Backoff::Clock::duration waited = Backoff::Clock::now() - begin;
      if (waited >= kPeerCheckInterval) {
        if (!std::exchange(*told, true)) comm_.BeginOtherWait(label);
        FM_RETURN_IF_ERROR(comm_.CheckPeers(label));
      }
      if (waited >= comm_.timeout()) return Missing(label);
    }
  }

  void Sleep(int q) {
    Seat& seat = SeatOf(mapping_, q);
    seat.sleepers.fetch_add(1, std::memory_order_seq_cst);
    const uint32_t seen = seat.arrived.load(std::memory_order_seq_cst);
    if (static_cast<int32_t>(seen - count_) < 0) {
      FutexWait(seat.arrived, seen,
                std::min<std::chrono::nanoseconds>(kPeerCheckInterval, comm_.timeout()));
    }
    seat.sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }

  absl::Status Missing(const WaitLabel& label) const {
    std::vector<int> missing;
    for (int q = 0; q < size(); ++q) {
      if (q != rank() && !Here(q)) missing.push_back(q);
    }
    return DeadlineExceeded("{}: no data from {} within {}", WaitName(rank(), label),
                            FormatRanks(missing), FormatDuration(comm_.timeout()));
  }

  Communicator& comm_;
  Mapping mapping_;
  const int64_t floats_;  // of a half
  int64_t used_ = 0;      // of the half that is being filled
  uint32_t count_ = 0;    // gathers that this rank has come to
  Backoff backoff_;
  absl::Status broken_;
};

// What rank 0 tells the others of the memory.
struct Offer {
  int32_t fd = -1;  // rank 0's; -1: there is none
  uint64_t nonce = 0;
};

Mapping MakeMemory(int ranks, int64_t floats, Offer* offer, int* fd) {
  *fd = static_cast<int>(syscall(SYS_memfd_create, "folkmoot-columns", 1u /* MFD_CLOEXEC */));
  const int64_t bytes = SharedColumns::Bytes(ranks, floats);
  if (*fd < 0 || ftruncate(*fd, bytes) != 0) return {};
  Mapping mapping(*fd, bytes);
  if (mapping.data() == nullptr) return {};
  std::random_device random;
  offer->fd = *fd;
  offer->nonce = (static_cast<uint64_t>(random()) << 32 | random()) | 1;
  SharedColumns::SeatOf(mapping, 0).nonce.store(offer->nonce, std::memory_order_release);
  return mapping;
}

Mapping OpenMemory(const ProcessIdentity& owner, const Offer& offer, int ranks, int64_t floats) {
  const ProcessIdentity own = ProcessIdentity::Own();
  if (offer.fd < 0 || own.machine.empty() || own.machine != owner.machine) return {};
  const std::string path = fmt::format("/proc/{}/fd/{}", owner.pid, offer.fd);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return {};
  const int64_t bytes = SharedColumns::Bytes(ranks, floats);
  Mapping mapping = lseek(fd, 0, SEEK_END) == bytes ? Mapping(fd, bytes) : Mapping();
  close(fd);
  if (mapping.data() == nullptr) return {};
  const uint64_t nonce = SharedColumns::SeatOf(mapping, 0).nonce.load(std::memory_order_acquire);
  return nonce == offer.nonce ? std::move(mapping) : Mapping();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ColumnExchange>> MakeSharedColumns(Communicator& comm,
                                                                  int64_t floats, bool spin) {
  const WaitLabel label = {.phase = "start-up"};
  floats = RoundUp(floats, kPage);
  Offer offer;
  int fd = -1;
  Mapping mapping;
  if (comm.rank() == 0) mapping = MakeMemory(comm.size(), floats, &offer, &fd);
  std::string owner = ProcessIdentity::Own().Encode();
  absl::Status status = BroadcastString(comm, 0, &owner, label);
  if (status.ok()) {
    status = Broadcast(comm, 0, std::as_writable_bytes(std::span(&offer, 1)), label);
  }
  if (status.ok() && comm.rank() > 0) {
    if (const auto identity = ProcessIdentity::Decode(owner); identity.ok()) {
      mapping = OpenMemory(*identity, offer, comm.size(), floats);
    }
  }
  const char mine = mapping.data() != nullptr ? 1 : 0;
  std::vector<char> all(static_cast<size_t>(comm.size()));
  if (status.ok()) {
    status = AllGather(comm, std::as_bytes(std::span(&mine, 1)),
                       std::as_writable_bytes(std::span(all)), label);
  }
  if (fd >= 0) close(fd);
  FM_RETURN_IF_ERROR(status);
  for (const char one : all) {
    if (one == 0) return std::unique_ptr<ColumnExchange>();
  }
  return std::make_unique<SharedColumns>(comm, std::move(mapping), floats, spin);
}

}  // namespace folkmoot
