// SPDX-License-Identifier: Apache-2.0
// When an engine that failed may start again, and when there is no point in it. Pure logic.
#pragma once

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
  // A life after which a culprit was gone was of use, but an engine that blames everybody is
  // broken: so many culprits in a row count.
  static constexpr int kMostCulprits = 16;

  // How long to wait before the next life; nullopt: give up. An engine that was never ready at all
  // is given up at once: its first message says what is wrong.
  std::optional<std::chrono::milliseconds> OnFailure(EngineLife life) {
    was_ready_ = was_ready_ || life != EngineLife::kNeverReady;
    ++in_a_row_;
    if (life == EngineLife::kComputed) OnComputed();
    if (!was_ready_ || in_a_row_ >= kMostFailures) return std::nullopt;
    const int doublings = in_a_row_ - 2;  // at once, at once, then after 0.5, 1, 2 s
    return std::chrono::milliseconds(doublings < 0 ? 0 : 500 << doublings);
  }

  // Something was computed.
  void OnComputed() { in_a_row_ = culprits_ = 0; }

  // A request that perhaps brought the engine down is gone: it was found out, or its client left
  // before that (Scheduler::culprits).
  void OnCulprit() {
    if (++culprits_ <= kMostCulprits) in_a_row_ = 0;
  }

 private:
  int in_a_row_ = 0;
  int culprits_ = 0;  // since something was computed
  bool was_ready_ = false;
};

}  // namespace folkmoot
