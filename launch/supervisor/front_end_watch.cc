// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/front_end_watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace folkmoot {
namespace {

// Below this share of one processor a thread counts as not using it.
constexpr double kBusyThread = 0.05;

double SecondsOf(FrontEndWatch::Time::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

void FrontEndWatch::Reset(Time now) {
  known_ = false;
  events_ = engine_ = {};
  Forgive(now);
}

void FrontEndWatch::Forgive(Time now) {
  heard_ = now;
  for (Thread* thread : {&events_, &engine_}) thread->got_on = thread->cpu_since = now;
}

void FrontEndWatch::Hear(const ThreadBeat& beat, Time before, Time now, Thread* thread) {
  const bool moved = beat.progress != thread->beat.progress || beat.waiting != thread->beat.waiting;
  if (moved) thread->got_on = now;
  const double used = beat.cpu_seconds - thread->beat.cpu_seconds;
  if (moved || used > kBusyThread * std::max(1e-3, SecondsOf(now - before))) {
    thread->cpu_since = now;
  }
  thread->beat = beat;
}

void FrontEndWatch::OnBeat(const FrontEndBeat& beat, Time now) {
  Hear(beat.events, heard_, now, &events_);
  Hear(beat.engine, heard_, now, &engine_);
  known_ = true;
  heard_ = now;
}

std::string FrontEndWatch::Hangs(const Thread& thread, const char* name, Time now) const {
  const bool idle = !thread.beat.waiting && now - thread.cpu_since >= limits_.idle;
  if (now - thread.got_on < (idle ? limits_.idle : limits_.busy)) return "";
  return fmt::format("{} has come no further for {:.1f} s{}{}", name,
                     SecondsOf(now - thread.got_on), thread.beat.waiting ? ": " : "",
                     thread.beat.waiting ? thread.beat.phase : "");
}

std::string FrontEndWatch::Check(Time now) const {
  if (now - heard_ >= (known_ ? limits_.silence : limits_.first)) {
    return fmt::format("it has not given a sign of life for {:.1f} s", SecondsOf(now - heard_));
  }
  if (!known_) return "";
  std::string why = Hangs(events_, "its thread of clients", now);
  if (why.empty() && !engine_.beat.waiting) why = Hangs(engine_, "its scheduler", now);
  return why;
}

}  // namespace folkmoot
