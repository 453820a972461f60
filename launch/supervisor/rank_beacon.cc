// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_beacon.h"

#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
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

absl::StatusOr<std::unique_ptr<RankBeacon>> RankBeacon::Start(FileDescriptor supervisor,
                                                              const RankHello& hello,
                                                              const Progress& progress) {
  std::unique_ptr<RankBeacon> beacon(
      new RankBeacon(FrameChannel(std::move(supervisor), kControlFrameBytes), progress));
  FM_RETURN_IF_ERROR(beacon->channel_.Send(Encode(hello), kSendTimeout));
  beacon->thread_ = std::thread([beacon = beacon.get()] { beacon->Loop(); });
  return beacon;
}

RankBeacon::~RankBeacon() {
  leaving_ = true;
  if (!thread_.joinable()) return;
  thread_.join();
}

void RankBeacon::TellActivity(RankActivity activity) {
  SetActivity(activity);
  (void)Beat();  // the thread hears of a supervisor that is gone
}

absl::Status RankBeacon::Beat() {
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
                         .steps = steps_.load(std::memory_order_relaxed)};
  const std::lock_guard lock(mutex_);
  return channel_.Send(Encode(beat), kSendTimeout);
}

void RankBeacon::Loop() {
  while (!leaving_) {
    if (!Beat().ok() || channel_.closed()) {
      // Nobody is left to work for; the computing thread may be anywhere.
      std::fputs("folkmoot: the supervisor is gone\n", stderr);
      std::_Exit(1);
    }
    pollfd wait = {.fd = channel_.fd(), .events = POLLRDHUP, .revents = 0};
    poll(&wait, 1, kBeatMilliseconds);  // ends early when the supervisor goes
  }
}

}  // namespace folkmoot
