// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace folkmoot {
namespace {

using testing::HasSubstr;

template <typename T>
T RoundTrip(const T& message) {
  T back;
  const absl::Status status = Decode(Encode(message), &back);
  EXPECT_TRUE(status.ok()) << status;
  return back;
}

TEST(Control, MessagesComeBackAsTheyWere) {
  const RankHello hello = RoundTrip(
      RankHello{.epoch = 3, .number = 4, .ranks = 4, .spares = 1, .host = "b", .process = 812});
  EXPECT_EQ(hello.epoch, 3);
  EXPECT_EQ(hello.number, 4);
  EXPECT_EQ(hello.ranks, 4);
  EXPECT_EQ(hello.spares, 1);
  EXPECT_EQ(hello.host, "b");
  EXPECT_EQ(hello.process, 812);
  const RankBeat beat = RoundTrip(RankBeat{.progress = 7,
                                           .waiting = true,
                                           .phase = "combine",
                                           .layer = -1,
                                           .step = 9041,
                                           .state = RankActivity::kStep,
                                           .cpu_seconds = 1.5,
                                           .steps = 12,
                                           .epoch = 6});
  EXPECT_EQ(beat.progress, 7u);
  EXPECT_TRUE(beat.waiting);
  EXPECT_EQ(beat.phase, "combine");
  EXPECT_EQ(beat.layer, -1);
  EXPECT_EQ(beat.step, 9041);
  EXPECT_EQ(beat.state, RankActivity::kStep);
  EXPECT_EQ(beat.cpu_seconds, 1.5);
  EXPECT_EQ(beat.steps, 12);
  EXPECT_EQ(beat.epoch, 6);
  const RepairOrder order =
      RoundTrip(RepairOrder{.epoch = 5, .members = {0, 4, 2}, .since = {1, 5, 1}});
  EXPECT_EQ(order.epoch, 5);
  EXPECT_THAT(order.members, testing::ElementsAre(0, 4, 2));
  EXPECT_THAT(order.since, testing::ElementsAre(1, 5, 1));
  const EngineNews news = RoundTrip(EngineNews{
      .state = EngineState::kStalled, .reason = "rank 1 is gone", .restarts = 4, .repairs = 9});
  EXPECT_EQ(news.state, EngineState::kStalled);
  EXPECT_EQ(news.reason, "rank 1 is gone");
  EXPECT_EQ(news.restarts, 4);
  EXPECT_EQ(news.repairs, 9);
  const FrontEndBeat front_end = RoundTrip(
      FrontEndBeat{.events = {.progress = 3, .waiting = true, .phase = "disk", .cpu_seconds = 0.5},
                   .engine = {.progress = 4},
                   .culprits = 2,
                   .steps = 9});
  EXPECT_EQ(front_end.events.progress, 3u);
  EXPECT_TRUE(front_end.events.waiting);
  EXPECT_EQ(front_end.events.phase, "disk");
  EXPECT_EQ(front_end.events.cpu_seconds, 0.5);
  EXPECT_EQ(front_end.engine.progress, 4u);
  EXPECT_EQ(front_end.culprits, 2);
  EXPECT_EQ(front_end.steps, 9);
}

TEST(Control, RepliesCarryResultsOrAnError) {
  StepReply reply;
  reply.results.resize(2);
  reply.results[1].sequences.push_back({.id = 5, .token = 17});
  reply.seconds.model = 0.25;
  const StepReply back = RoundTrip(reply);
  ASSERT_EQ(back.results.size(), 2u);
  EXPECT_EQ(back.results[1].sequences.at(0).token, 17);
  EXPECT_EQ(back.seconds.model, 0.25);
  const StepReply failed = RoundTrip(StepReply{.status = DataLoss("rank 2 is gone")});
  EXPECT_EQ(failed.status, DataLoss("rank 2 is gone"));
}

TEST(Control, WhatCannotBeIsNamed) {
  RankHello hello;
  const absl::Status status = Decode(Encode(RankHello{.number = 4, .ranks = 4}), &hello);
  EXPECT_THAT(std::string(status.message()), HasSubstr("number is 4: it must be 0 to 3"));
  EngineHello engine;
  EXPECT_THAT(std::string(Decode(Encode(EngineHello{.context = 0}), &engine).message()),
              HasSubstr("context is 0"));
  RepairOrder order;
  EXPECT_THAT(
      std::string(Decode(Encode(RepairOrder{.epoch = 1, .members = {0}}), &order).message()),
      HasSubstr("since is 0: it must be 1 to 1"));
  EXPECT_THAT(
      std::string(
          Decode(Encode(RepairOrder{.epoch = 1, .members = {0}, .since = {2}}), &order).message()),
      HasSubstr("since is 2: it must be 0 to 1"));
}

// Whatever arrives, it is a message or an error.
TEST(Control, RandomBytesAreNoCrash) {
  std::mt19937_64 random(1);
  const std::vector<std::string> seeds = {
      Encode(RankHello{.epoch = 1, .number = 0, .ranks = 2}),
      Encode(RankBeat{.phase = "x"}),
      Encode(EngineHello{
          .epoch = 1, .fields = {{"a", "b"}}, .context = 1, .blocks_per_rank = 1, .since = {1}}),
      Encode(RepairOrder{.epoch = 1, .members = {0}, .since = {1}}),
      Encode(StepReply{.results = {StepResult()}}),
      Encode(EngineNews{.reason = "r"})};
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = seeds[random() % seeds.size()];
    for (uint64_t n = random() % 4; n > 0 && !bytes.empty(); --n) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 8));
    RankHello hello;
    RankBeat beat;
    EngineHello engine;
    StepReply reply;
    EngineNews news;
    EngineWelcome welcome;
    RepairOrder order;
    (void)Decode(bytes, &order);
    (void)Decode(bytes, &hello);
    (void)Decode(bytes, &beat);
    (void)Decode(bytes, &engine);
    (void)Decode(bytes, &reply);
    (void)Decode(bytes, &news);
    (void)Decode(bytes, &welcome);
  }
}

}  // namespace
}  // namespace folkmoot
