// SPDX-License-Identifier: Apache-2.0
// When an engine that failed may start again, and when there is no point in it. Pure logic.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace folkmoot {

// How far a life of the engine came.
enum class EngineLife : uint8_t { kNeverReady, kReady, kComputed };

class RestartPolicy {
 public:
  // Lives in a row that computed nothing, after which it is given up. More than a request that
  // kills the engine takes to be found out (Scheduler::kSuspectFailures).
  static constexpr int kMostFailures = 5;

  // How long to wait before the next life; nullopt: give up. An engine that was never ready at all
  // is given up at once: its first message says what is wrong.
  std::optional<std::chrono::milliseconds> OnFailure(EngineLife life) {
    ++failures_;
    was_ready_ = was_ready_ || life != EngineLife::kNeverReady;
    in_a_row_ = life == EngineLife::kComputed ? 0 : in_a_row_ + 1;
    if (!was_ready_ || in_a_row_ >= kMostFailures) return std::nullopt;
    const int doublings = in_a_row_ - 2;  // at once, at once, then after 0.5, 1, 2 s
    return std::chrono::milliseconds(doublings < 0 ? 0 : 500 << doublings);
  }

  int64_t failures() const { return failures_; }

 private:
  int64_t failures_ = 0;
  int in_a_row_ = 0;
  bool was_ready_ = false;
};

}  // namespace folkmoot
