// SPDX-License-Identifier: Apache-2.0
// A rank's line to its supervisor: a thread that tells, several times a second, how far the
// computing thread has come, and hears orders. When the supervisor is gone, the process ends.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "launch/supervisor/control.h"
#include "launch/supervisor/frame_channel.h"
#include "parallel/progress.h"

namespace folkmoot {

class RankBeacon {
 public:
  // `supervisor`: a connection to it. `progress` must outlive the beacon. `on_order`: called on the
  // beacon's thread when an order has come.
  static absl::StatusOr<std::unique_ptr<RankBeacon>> Start(
      FileDescriptor supervisor, const RankHello& hello, const Progress& progress,
      std::function<void(const RepairOrder&)> on_order);
  ~RankBeacon();
  RankBeacon(const RankBeacon&) = delete;
  RankBeacon& operator=(const RankBeacon&) = delete;

  // From the computing thread.
  void SetActivity(RankActivity activity) { activity_.store(activity, std::memory_order_relaxed); }
  // The same, and the supervisor has been told when this returns.
  void TellActivity(RankActivity activity);
  // The life of the engine that the computing thread is in, at its beginning.
  void BeginLife(int64_t epoch);
  // The next order, which the caller carries out; nullopt: none has come within `patience`.
  std::optional<RepairOrder> TakeOrder(std::chrono::milliseconds patience);
  // Can be read, in the sense of poll, while there is an order to take.
  int order_fd() const { return order_event_.get(); }
  void CountStep() { steps_.fetch_add(1, std::memory_order_relaxed); }

 private:
  RankBeacon(FrameChannel channel, const Progress& progress,
             std::function<void(const RepairOrder&)> on_order);
  void Loop();
  absl::Status Beat();
  absl::Status Hear();

  std::mutex mutex_;
  FrameChannel channel_;  // sends under mutex_, receives on the thread
  const Progress& progress_;
  const std::function<void(const RepairOrder&)> on_order_;
  FileDescriptor order_event_;
  std::condition_variable ordered_;
  std::optional<RepairOrder> order_;  // under mutex_
  std::atomic<int64_t> epoch_{0};
  std::atomic<RankActivity> activity_{RankActivity::kLoading};
  std::atomic<int64_t> steps_{0};
  std::atomic<bool> leaving_{false};
  std::thread thread_;
};

}  // namespace folkmoot
