// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/engine_lives.h"

#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using Next = EngineLives::Next;
using std::chrono::milliseconds;

// A supervisor's decisions about an engine of one rank, on a clock of its own.
class Lives {
 public:
  EngineLives lives{1, {}};
  EngineLives::Time now;

  void ComeUp() {
    lives.Begin(now);
    lives.OnHello(0, now);
    lives.OnBeat(0, {.state = RankActivity::kIdle, .epoch = lives.epoch()}, now);
    (void)lives.Look(now, 1);
  }
  // The life ends without having computed; true: another one starts.
  bool Die() {
    lives.Fail("it died");
    const Next next = lives.Decide(now, /*gone=*/true);
    if (next == Next::kGiveUp) return false;
    EXPECT_EQ(next, Next::kPause);
    now += lives.pause() + milliseconds(1);
    EXPECT_EQ(lives.Decide(now, true), Next::kStart);
    return true;
  }
};

TEST(EngineLives, UselessLivesHaveAnEnd) {
  Lives engine;
  for (int i = 1; i < RestartPolicy::kMostFailures; ++i) {
    engine.ComeUp();
    EXPECT_TRUE(engine.Die()) << i;
  }
  engine.ComeUp();
  EXPECT_FALSE(engine.Die());
}

// Several requests that each bring the engine down: two lives find out that there are suspects, and
// one more finds out each of them.
TEST(EngineLives, ManyCulprits) {
  Lives engine;
  for (int i = 0; i < 2; ++i) {
    engine.ComeUp();
    ASSERT_TRUE(engine.Die());
  }
  for (int culprit = 1; culprit <= 10; ++culprit) {
    engine.ComeUp();
    ASSERT_TRUE(engine.Die()) << culprit;
    engine.lives.OnFrontEnd(0, culprit);
  }
  EXPECT_EQ(engine.lives.pause(), milliseconds(0)) << "no pauses between them";
}

TEST(EngineLives, AnEngineThatBlamesEverybodyIsBroken) {
  Lives engine;
  int lives = 0;
  bool goes_on = true;
  for (int culprit = 1; goes_on && lives < 100; ++culprit, ++lives) {
    engine.ComeUp();
    goes_on = engine.Die();
    engine.lives.OnFrontEnd(0, culprit);
  }
  EXPECT_FALSE(goes_on);
  EXPECT_GT(lives, RestartPolicy::kMostCulprits);
}

// A life that dies within a beat of its first answer has computed, as the front end knows.
TEST(EngineLives, AnswersThatOnlyTheFrontEndHeardOf) {
  Lives engine;
  for (int steps = 1; steps < 100; ++steps) {
    engine.ComeUp();
    ASSERT_TRUE(engine.Die()) << steps;
    engine.lives.OnFrontEnd(steps, 0);
  }
}

// Another front end counts from zero.
TEST(EngineLives, CulpritsOfAnotherFrontEnd) {
  Lives engine;
  engine.lives.OnFrontEnd(0, 3);
  engine.lives.OnFrontEndStart();
  for (int i = 0; i < 4; ++i) {
    engine.ComeUp();
    ASSERT_TRUE(engine.Die());
  }
  engine.lives.OnFrontEnd(0, 1);
  engine.ComeUp();
  EXPECT_TRUE(engine.Die());
}

TEST(EngineLives, WhatDoesNotEndIsAbandoned) {
  Lives engine;
  engine.ComeUp();
  engine.lives.Fail("rank 0 hangs");
  EXPECT_EQ(engine.lives.Decide(engine.now, /*gone=*/false), Next::kWait);
  engine.now += EngineLives::kDying - milliseconds(1);
  EXPECT_EQ(engine.lives.Decide(engine.now, false), Next::kWait);
  engine.now += milliseconds(2);
  EXPECT_EQ(engine.lives.Decide(engine.now, false), Next::kAbandon);
  EXPECT_EQ(engine.lives.Decide(engine.now, true), Next::kPause);
}

}  // namespace
}  // namespace folkmoot
