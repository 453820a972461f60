// SPDX-License-Identifier: Apache-2.0
// A rank's line to its supervisor: a thread that tells, several times a second, how far the
// computing thread has come. When the supervisor is gone, the process ends.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "launch/supervisor/control.h"
#include "launch/supervisor/frame_channel.h"
#include "parallel/progress.h"

namespace folkmoot {

class RankBeacon {
 public:
  // `supervisor`: a connection to it. `progress` must outlive the beacon.
  static absl::StatusOr<std::unique_ptr<RankBeacon>> Start(FileDescriptor supervisor,
                                                           const RankHello& hello,
                                                           const Progress& progress);
  ~RankBeacon();
  RankBeacon(const RankBeacon&) = delete;
  RankBeacon& operator=(const RankBeacon&) = delete;

  // From the computing thread.
  void SetActivity(RankActivity activity) { activity_.store(activity, std::memory_order_relaxed); }
  // The same, and the supervisor has been told when this returns.
  void TellActivity(RankActivity activity);
  void CountStep() { steps_.fetch_add(1, std::memory_order_relaxed); }

 private:
  RankBeacon(FrameChannel channel, const Progress& progress)
      : channel_(std::move(channel)), progress_(progress) {}
  void Loop();
  absl::Status Beat();

  std::mutex mutex_;
  FrameChannel channel_;  // sends under mutex_
  const Progress& progress_;
  std::atomic<RankActivity> activity_{RankActivity::kLoading};
  std::atomic<int64_t> steps_{0};
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

}  // namespace folkmoot
