// SPDX-License-Identifier: Apache-2.0
// Is the front end getting on? Judges the beats that it sends to the supervisor. Pure logic: time
// is an argument.
//
// The rule is that of the ranks: a thread that neither gets on, nor waits, nor uses its processor
// hangs; one that tokenizes for long uses it. What the engine's thread waits for are the ranks,
// which are watched by themselves.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "launch/supervisor/control.h"

namespace folkmoot {

struct FrontEndLimits {
  using Milliseconds = std::chrono::milliseconds;
  Milliseconds first{30'000};  // until the first beat: it makes a socket and a thread before
  Milliseconds silence{2500};  // without a beat
  Milliseconds idle{2500};     // a thread without progress, its processor unused
  Milliseconds busy{120'000};  // the same, but the processor is used, or the disk is
};

class FrontEndWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit FrontEndWatch(const FrontEndLimits& limits = {}) : limits_(limits) {}

  // A front end begins.
  void Reset(Time now);
  void OnBeat(const FrontEndBeat& beat, Time now);
  // The supervisor itself stood still: no silence counts.
  void Forgive(Time now);
  // Why it hangs; empty: it does not.
  std::string Check(Time now) const;

 private:
  struct Thread {
    ThreadBeat beat;
    Time got_on, cpu_since;
  };
  static void Hear(const ThreadBeat& beat, Time before, Time now, Thread* thread);
  std::string Hangs(const Thread& thread, const char* name, Time now) const;

  FrontEndLimits limits_;
  bool known_ = false;  // it has beaten
  Time heard_;          // the last beat, or the start
  Thread events_, engine_;
};

}  // namespace folkmoot
