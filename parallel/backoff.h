// SPDX-License-Identifier: Apache-2.0
// How a wait gives up its core: it spins briefly, then yields, then sleeps. Ranks that share cores
// must not spin: on 2 cores, 4 spinning ranks need a thousand times longer for an exchange. Where
// others compete for the cores, they must not yield either: a yield lets everybody else have a
// turn first, tens of milliseconds, while a sleeper is woken in tens of microseconds. So a yield
// that took long makes the next waits sleep at once.
#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace folkmoot {

// The waits of one thread, one after the other: Begin, then Pause until there is no more to wait
// for.
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::microseconds kSpinTime{20};
  static constexpr std::chrono::microseconds kYieldTime{500};
  static constexpr std::chrono::microseconds kLongYield{300};
  static constexpr std::chrono::microseconds kShortSleep{20};
  static constexpr std::chrono::microseconds kShortSleepTime{2000};
  static constexpr std::chrono::microseconds kLongSleep{100};
  // Waits without yields after a long one: some tenths of a second.
  static constexpr int kCrowdedWaits = 4096;

  // `spin`: the thread has a core of its own, which it may keep for a moment.
  void set_spin(bool spin) { spin_ = spin; }

  void Begin() {
    start_ = Clock::now();
    if (crowded_waits_ > 0) --crowded_waits_;
  }

  // One pause. Returns for how long this wait has lasted, before the pause.
  Clock::duration Pause() {
    const Clock::time_point now = Clock::now();
    const Clock::duration waited = now - start_;
    if (!PauseAwake(now)) {
      std::this_thread::sleep_for(waited < kShortSleepTime ? kShortSleep : kLongSleep);
    }
    return waited;
  }

  // For waits that somebody can wake: one pause that keeps the thread running. False, without a
  // pause, when it is time to sleep.
  bool PauseAwake() { return PauseAwake(Clock::now()); }

 private:
  bool PauseAwake(Clock::time_point now) {
    const Clock::duration waited = now - start_;
    if (spin_ && waited < kSpinTime) return true;
    if (crowded_waits_ > 0 || waited >= kYieldTime) return false;
    sched_yield();
    if (Clock::now() - now > kLongYield) crowded_waits_ = kCrowdedWaits;
    return true;
  }

  bool spin_ = false;
  int crowded_waits_ = 0;
  Clock::time_point start_;
};

}  // namespace folkmoot
