// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_beacon.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace folkmoot {
namespace {

constexpr int kBeatMilliseconds = 100;
constexpr std::chrono::milliseconds kSendTimeout{10'000};

rusage Usage() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

double CpuSeconds(const rusage& usage) {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Grows with every page that comes from a disk, mapped files included.
uint64_t PagesRead(const rusage& usage) {
  return static_cast<uint64_t>(usage.ru_majflt) + static_cast<uint64_t>(usage.ru_inblock);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankBeacon>> RankBeacon::Start(
    FileDescriptor supervisor, const RankHello& hello, const Progress& progress,
    std::function<void(const RepairOrder&)> on_order) {
  std::unique_ptr<RankBeacon> beacon(new RankBeacon(
      FrameChannel(std::move(supervisor), kControlFrameBytes), progress, std::move(on_order)));
  if (!beacon->order_event_.open()) return Unavailable("eventfd: {}", std::strerror(errno));
  beacon->epoch_ = hello.epoch;
  FM_RETURN_IF_ERROR(beacon->channel_.Send(Encode(hello), kSendTimeout));
  beacon->thread_ = std::thread([beacon = beacon.get()] { beacon->Loop(); });
  return beacon;
}

RankBeacon::RankBeacon(FrameChannel channel, const Progress& progress,
                       std::function<void(const RepairOrder&)> on_order)
    : channel_(std::move(channel)),
      progress_(progress),
      on_order_(std::move(on_order)),
      order_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

RankBeacon::~RankBeacon() {
  leaving_ = true;
  if (thread_.joinable()) thread_.join();
}

void RankBeacon::TellActivity(RankActivity activity) {
  SetActivity(activity);
  (void)Beat();  // the thread hears of a supervisor that is gone
}

void RankBeacon::BeginLife(int64_t epoch) {
  SetActivity(RankActivity::kLoading);
  steps_.store(0, std::memory_order_relaxed);
  epoch_.store(epoch, std::memory_order_release);
}

std::optional<RepairOrder> RankBeacon::TakeOrder(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (!ordered_.wait_for(lock, patience, [&] { return order_.has_value(); })) return std::nullopt;
  uint64_t ignored = 0;
  (void)!read(order_event_.get(), &ignored, sizeof(ignored));
  return std::exchange(order_, std::nullopt);
}

absl::Status RankBeacon::Hear() {
  while (true) {
    FM_ASSIGN_OR_RETURN(const std::optional<std::string> message, channel_.Poll());
    if (!message) return absl::OkStatus();
    RepairOrder order;
    FM_RETURN_IF_ERROR(Decode(*message, &order));
    on_order_(order);
    {
      const std::lock_guard lock(mutex_);
      order_ = std::move(order);
      const uint64_t one = 1;  // under the lock: who takes the order takes this too
      (void)!write(order_event_.get(), &one, sizeof(one));
    }
    ordered_.notify_all();
  }
}

absl::Status RankBeacon::Beat() {
  const int64_t epoch = epoch_.load(std::memory_order_acquire);  // first: the rest is of it
  const Progress::View view = progress_.Read();
  const rusage usage = Usage();
  const RankActivity activity = activity_.load(std::memory_order_relaxed);
  const bool loading = activity == RankActivity::kLoading;
  const RankBeat beat = {.progress = view.count + (loading ? PagesRead(usage) : 0),
                         .waiting = view.waiting,
                         .phase = view.label.phase,
                         .layer = view.label.layer,
                         .step = view.label.step,
                         .state = activity,
                         .cpu_seconds = CpuSeconds(usage),
                         .steps = steps_.load(std::memory_order_relaxed),
                         .epoch = epoch};
  const std::lock_guard lock(mutex_);
  return channel_.Send(Encode(beat), kSendTimeout);
}

void RankBeacon::Loop() {
  while (!leaving_) {
    if (!Beat().ok() || !Hear().ok() || channel_.closed()) {
      // Nobody is left to work for; the computing thread may be anywhere.
      std::fputs("folkmoot: the supervisor is gone\n", stderr);
      std::_Exit(1);
    }
    pollfd wait = {.fd = channel_.fd(), .events = POLLIN | POLLRDHUP, .revents = 0};
    poll(&wait, 1, kBeatMilliseconds);  // ends early when the supervisor speaks or goes
  }
}

}  // namespace folkmoot
