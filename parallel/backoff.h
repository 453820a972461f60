// SPDX-License-Identifier: Apache-2.0
// How a wait gives up its core: it spins briefly, then yields, then sleeps. Ranks that share cores
// must not spin: on 2 cores, 4 spinning ranks need a thousand times longer for an exchange.
#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace folkmoot {

class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::microseconds kSpinTime{20};
  static constexpr std::chrono::microseconds kYieldTime{1000};
  static constexpr std::chrono::microseconds kSleepTime{50};

  // `spin`: this wait may keep its core for a moment.
  explicit Backoff(bool spin)
      : start_(Clock::now()), spin_until_(spin ? start_ + kSpinTime : start_) {}

  Clock::time_point start() const { return start_; }

  // One pause. Returns the time before it.
  Clock::time_point Pause() const {
    const Clock::time_point now = Clock::now();
    if (now < spin_until_) return now;
    if (now < start_ + kYieldTime) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(kSleepTime);
    }
    return now;
  }

 private:
  const Clock::time_point start_;
  const Clock::time_point spin_until_;
};

}  // namespace folkmoot
