// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/rank_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// Three ranks that beat every 100 ms on a clock of their own.
class Beats {
 public:
  Beats() : watch_({}) {
    watch_.Reset(3, 0);
    beats_.resize(3);
    for (int r = 0; r < 3; ++r) {
      watch_.OnHello(r, now_);
      At(r) = {.phase = "plan broadcast", .state = RankActivity::kStep};
    }
  }

  RankBeat& At(int rank) { return beats_[static_cast<size_t>(rank)]; }
  void Silence(int rank) { silent_.push_back(rank); }
  // The rank gets on, or computes, from now on.
  void Move(int rank) { moving_.push_back(rank); }
  void Compute(int rank) { computing_.push_back(rank); }
  void Halt() { moving_.clear(), computing_.clear(); }

  RankWatch::Verdict After(milliseconds time) {
    for (milliseconds gone{0}; gone < time; gone += milliseconds(100)) {
      now_ += milliseconds(100);
      for (const int r : moving_) ++At(r).progress;
      for (const int r : computing_) At(r).cpu_seconds += 0.1;
      for (int r = 0; r < 3; ++r) {
        if (std::count(silent_.begin(), silent_.end(), r) == 0) watch_.OnBeat(r, At(r), now_);
      }
    }
    return watch_.Check(now_);
  }

  RankWatch& watch() { return watch_; }
  RankWatch::Time now() const { return now_; }
  void Jump(milliseconds time) { now_ += time; }

 private:
  RankWatch watch_;
  RankWatch::Time now_;
  std::vector<RankBeat> beats_;
  std::vector<int> silent_, moving_, computing_;
};

void Wait(RankBeat& beat, const char* phase, int layer, int64_t step) {
  beat = {
      .waiting = true, .phase = phase, .layer = layer, .step = step, .state = RankActivity::kStep};
}

TEST(RankWatch, RanksThatGetOnAreLeftAlone) {
  Beats beats;
  for (int r = 0; r < 3; ++r) beats.Move(r);
  const RankWatch::Verdict verdict = beats.After(milliseconds(60'000));
  EXPECT_THAT(verdict.fence, IsEmpty());
  EXPECT_EQ(verdict.stall, "");
  EXPECT_TRUE(beats.watch().up());
}

TEST(RankWatch, ASilentRankIsFencedWithinThreeSeconds) {
  Beats beats;
  for (int r = 0; r < 3; ++r) beats.Move(r);
  EXPECT_THAT(beats.After(milliseconds(1000)).fence, IsEmpty());
  beats.Silence(1);
  EXPECT_THAT(beats.After(milliseconds(1500)).fence, IsEmpty());
  const RankWatch::Verdict verdict = beats.After(milliseconds(700));
  EXPECT_THAT(verdict.fence, ElementsAre(1));
  EXPECT_EQ(verdict.reason, "rank 1 has not given a sign of life for 2.2 s");
}

TEST(RankWatch, AWedgedRankIsNamedWithTheExchangeThatOthersWaitIn) {
  Beats beats;
  Wait(beats.At(0), "combine", 17, 9041);
  Wait(beats.At(1), "combine", 17, 9041);
  beats.At(2) = {.phase = "dispatch", .layer = 17, .step = 9041, .state = RankActivity::kStep};
  RankWatch::Verdict verdict = beats.After(milliseconds(1500));
  EXPECT_THAT(verdict.fence, IsEmpty());
  EXPECT_EQ(verdict.stall,
            "rank 2 has not entered layer 17 combine of step 9041; ranks 0 and 1 wait since 1.4 s");
  verdict = beats.After(milliseconds(1000));
  EXPECT_THAT(verdict.fence, ElementsAre(2));
  EXPECT_EQ(verdict.reason,
            "rank 2 has not entered layer 17 combine of step 9041; ranks 0 and 1 wait since 2.4 s");
}

TEST(RankWatch, ALongPrefillIsNoWedge) {
  Beats beats;
  Wait(beats.At(0), "combine", 3, 7);
  Wait(beats.At(1), "combine", 3, 7);
  beats.At(2) = {.phase = "dispatch", .layer = 3, .step = 7, .state = RankActivity::kStep};
  beats.Compute(2);
  const RankWatch::Verdict verdict = beats.After(milliseconds(60'000));
  EXPECT_THAT(verdict.fence, IsEmpty());
  EXPECT_NE(verdict.stall, "");  // told, not ended
  EXPECT_THAT(beats.After(milliseconds(70'000)).fence, ElementsAre(2));
}

TEST(RankWatch, RanksThatAllWaitAreADeadlock) {
  Beats beats;
  for (int r = 0; r < 3; ++r) Wait(beats.At(r), r == 0 ? "combine" : "dispatch", r, 5);
  EXPECT_THAT(beats.After(milliseconds(3000)).fence, IsEmpty());
  const RankWatch::Verdict verdict = beats.After(milliseconds(1500));
  EXPECT_THAT(verdict.fence, ElementsAre(0, 1, 2));
  EXPECT_EQ(verdict.reason,
            "all ranks wait for each other: rank 0: layer 0 combine of step 5; rank 1: layer 1 "
            "dispatch of step 5; rank 2: layer 2 dispatch of step 5");
}

TEST(RankWatch, AnIdleEngineMayWaitForEver) {
  Beats beats;
  beats.At(0).state = RankActivity::kIdle;
  Wait(beats.At(1), "plan broadcast", -1, 9);
  Wait(beats.At(2), "plan broadcast", -1, 9);
  const RankWatch::Verdict verdict = beats.After(milliseconds(3'600'000));
  EXPECT_THAT(verdict.fence, IsEmpty());
  EXPECT_EQ(verdict.stall, "");
}

TEST(RankWatch, LoadingTakesAsLongAsItTakes) {
  Beats beats;
  for (int r = 0; r < 3; ++r) beats.At(r).state = RankActivity::kLoading;
  beats.Compute(0);
  beats.Move(1);  // from a slow disk
  Wait(beats.At(2), "start-up", -1, -1);
  beats.At(2).state = RankActivity::kLoading;
  EXPECT_THAT(beats.After(milliseconds(590'000)).fence, IsEmpty());
  EXPECT_FALSE(beats.watch().up());
  beats.Silence(0);
  EXPECT_THAT(beats.After(milliseconds(3000)).fence, ElementsAre(0));
}

TEST(RankWatch, ARankThatHangsWhileItLoadsIsFound) {
  Beats beats;
  for (int r = 0; r < 3; ++r) beats.At(r).state = RankActivity::kLoading;
  beats.Move(0);
  beats.Compute(1);
  EXPECT_THAT(beats.After(milliseconds(29'000)).fence, IsEmpty());
  const RankWatch::Verdict verdict = beats.After(milliseconds(1500));
  EXPECT_THAT(verdict.fence, ElementsAre(2));
  EXPECT_EQ(verdict.reason,
            "rank 2 has come no further with loading the model for 30 s: do its files lie on a "
            "disk that does not answer?");
}

TEST(RankWatch, WhenTheSupervisorStoodStillNobodyIsBlamed) {
  Beats beats;
  beats.After(milliseconds(500));
  beats.Jump(milliseconds(10'000));
  beats.watch().Forgive(beats.now());
  EXPECT_THAT(beats.watch().Check(beats.now()).fence, IsEmpty());
}

}  // namespace
}  // namespace folkmoot
