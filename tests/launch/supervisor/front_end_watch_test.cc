// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/front_end_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// A front end that beats every 100 ms on a clock of its own.
class FrontEndBeats {
 public:
  FrontEndBeats() { watch_.Reset(now_); }

  FrontEndBeat beat;
  bool events_move = true, engine_moves = true;
  double events_use = 0, engine_uses = 0;  // share of a processor

  std::string After(milliseconds time) {
    for (milliseconds gone{0}; gone < time; gone += milliseconds(100)) {
      now_ += milliseconds(100);
      beat.events.progress += events_move ? 1 : 0;
      beat.engine.progress += engine_moves ? 1 : 0;
      beat.events.cpu_seconds += 0.1 * events_use;
      beat.engine.cpu_seconds += 0.1 * engine_uses;
      watch_.OnBeat(beat, now_);
    }
    return watch_.Check(now_);
  }
  std::string Silent(milliseconds time) {
    now_ += time;
    return watch_.Check(now_);
  }
  FrontEndWatch& watch() { return watch_; }
  FrontEndWatch::Time now() const { return now_; }

 private:
  FrontEndWatch watch_;
  FrontEndWatch::Time now_;
};

TEST(FrontEndWatch, OneThatGetsOnIsLeftAlone) {
  FrontEndBeats front_end;
  EXPECT_EQ(front_end.After(milliseconds(600'000)), "");
}

TEST(FrontEndWatch, AStoppedProcessIsFoundWithinThreeSeconds) {
  FrontEndBeats front_end;
  EXPECT_EQ(front_end.After(milliseconds(1000)), "");
  EXPECT_EQ(front_end.Silent(milliseconds(2000)), "");
  EXPECT_EQ(front_end.Silent(milliseconds(600)), "it has not given a sign of life for 2.6 s");
}

TEST(FrontEndWatch, ADeadlockOfEitherThreadIsFoundWithinThreeSeconds) {
  FrontEndBeats events;
  events.After(milliseconds(1000));
  events.events_move = false;
  EXPECT_EQ(events.After(milliseconds(2000)), "");
  EXPECT_THAT(events.After(milliseconds(700)), HasSubstr("its thread of clients"));
  FrontEndBeats engine;
  engine.After(milliseconds(1000));
  engine.engine_moves = false;
  EXPECT_EQ(engine.After(milliseconds(2000)), "");
  EXPECT_THAT(engine.After(milliseconds(700)), HasSubstr("its scheduler"));
}

TEST(FrontEndWatch, ALongTokenizationIsNone) {
  FrontEndBeats front_end;
  front_end.events_move = false;
  front_end.events_use = 0.2;  // on a busy machine
  EXPECT_EQ(front_end.After(milliseconds(110'000)), "");
  EXPECT_THAT(front_end.After(milliseconds(20'000)), HasSubstr("its thread of clients"));
}

TEST(FrontEndWatch, TheSchedulerWaitsForRanksAsLongAsItTakes) {
  FrontEndBeats front_end;
  front_end.engine_moves = false;
  front_end.beat.engine.waiting = true;
  EXPECT_EQ(front_end.After(milliseconds(3'600'000)), "");
}

TEST(FrontEndWatch, ASlowDiskIsNoHangUntilItTakesMinutes) {
  FrontEndBeats front_end;
  front_end.events_move = false;
  front_end.beat.events.waiting = true;
  front_end.beat.events.phase = "write to the journal";
  EXPECT_EQ(front_end.After(milliseconds(110'000)), "");
  EXPECT_THAT(front_end.After(milliseconds(20'000)), HasSubstr("write to the journal"));
}

TEST(FrontEndWatch, WhenTheSupervisorStoodStillNobodyIsBlamed) {
  FrontEndBeats front_end;
  front_end.After(milliseconds(500));
  EXPECT_NE(front_end.Silent(milliseconds(10'000)), "");
  front_end.watch().Forgive(front_end.now());
  EXPECT_EQ(front_end.watch().Check(front_end.now()), "");
}

}  // namespace
}  // namespace folkmoot
