// SPDX-License-Identifier: Apache-2.0
#include "launch/plan_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace folkmoot {
namespace {

using testing::HasSubstr;

StepPlan SomePlan() {
  StepPlan plan;
  plan.epoch = 3;
  plan.step = 41;
  plan.finished = {7, 9};
  plan.ranks.resize(2);
  plan.ranks[1].push_back({.id = 12,
                           .start = 5,
                           .prompt_length = 9,
                           .token_ids = {1, 2, 3},
                           .blocks = {0, 4},
                           .targets = {2, 3, -1},
                           .top_logprobs = 2,
                           .sample = true,
                           .trace_routing = true,
                           .layer_digests = true,
                           .sampling = {0.5f, 40, 0.9f, 0.1f, 0xffffffffffffffffu}});
  return plan;
}

TEST(PlanCodec, APlanSurvivesTheWire) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  const auto plan = DecodePlan(frame, 3, 41, 2);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->finished, SomePlan().finished);
  ASSERT_EQ(plan->ranks.size(), 2u);
  EXPECT_TRUE(plan->ranks[0].empty());
  const SequenceSlice& slice = plan->ranks[1].at(0);
  const SequenceSlice expected = SomePlan().ranks[1][0];
  EXPECT_EQ(slice.id, expected.id);
  EXPECT_EQ(slice.start, expected.start);
  EXPECT_EQ(slice.prompt_length, expected.prompt_length);
  EXPECT_EQ(slice.token_ids, expected.token_ids);
  EXPECT_EQ(slice.blocks, expected.blocks);
  EXPECT_EQ(slice.targets, expected.targets);
  EXPECT_EQ(slice.top_logprobs, expected.top_logprobs);
  EXPECT_TRUE(slice.sample && slice.trace_routing && slice.layer_digests);
  EXPECT_EQ(slice.sampling.seed, expected.sampling.seed);
  EXPECT_EQ(slice.sampling.temperature, expected.sampling.temperature);
  EXPECT_EQ(slice.sampling.top_k, expected.sampling.top_k);
  EXPECT_EQ(slice.sampling.top_p, expected.sampling.top_p);
  EXPECT_EQ(slice.sampling.min_p, expected.sampling.min_p);
}

TEST(PlanCodec, AnotherStepOrEpochIsRefused) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  EXPECT_THAT(std::string(Message(DecodePlan(frame, 3, 42, 2).status())),
              HasSubstr("is step 41 of epoch 3, but this rank is at step 42 of epoch 3"));
  EXPECT_THAT(std::string(Message(DecodePlan(frame, 4, 41, 2).status())), HasSubstr("epoch 4"));
  EXPECT_THAT(std::string(Message(DecodePlan(frame, 3, 41, 3).status())),
              HasSubstr("made for 2 ranks, but there are 3"));
}

TEST(PlanCodec, EveryDamagedByteIsNoticed) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  for (size_t i = 0; i < frame.size(); ++i) {
    std::string damaged = frame;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_FALSE(DecodePlan(damaged, 3, 41, 2).ok()) << "byte " << i;
  }
  for (size_t n = 0; n < frame.size(); ++n) {
    EXPECT_FALSE(DecodePlan(frame.substr(0, n), 3, 41, 2).ok()) << "first " << n << " bytes";
  }
}

TEST(PlanCodec, AResultSurvivesTheWire) {
  StepResult result;
  result.expert_tokens = {1, 0, 5};
  SequenceResult& sequence = result.sequences.emplace_back();
  sequence.id = 4;
  sequence.token = 17;
  sequence.token_logprob = -0.25f;
  sequence.target_logprobs = {-1.5f, -2.5f};
  sequence.top_logprobs = {{1, -0.5f}, {2, -0.75f}};
  sequence.drops = {{.layer = 1, .rejected = 2, .overflow = 3}};
  sequence.routing = {{.layer = 1,
                       .top_k = 2,
                       .expert = {3, 1},
                       .weight = {0.5f, 0.25f},
                       .state = {0, 2},
                       .place = {0, -1}}};
  sequence.layer_digests = {0xdeadbeefcafef00du};
  sequence.error = "reason";
  const auto decoded = DecodeResult(EncodeResult(result));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->expert_tokens, result.expert_tokens);
  const SequenceResult& out = decoded->sequences.at(0);
  EXPECT_EQ(out.id, 4);
  EXPECT_EQ(out.token, 17);
  EXPECT_EQ(out.token_logprob, -0.25f);
  EXPECT_EQ(out.target_logprobs, sequence.target_logprobs);
  EXPECT_EQ(out.top_logprobs.at(1).token, 2);
  EXPECT_EQ(out.top_logprobs.at(1).logprob, -0.75f);
  EXPECT_EQ(out.drops.at(0).overflow, 3);
  EXPECT_EQ(out.routing.at(0).expert, sequence.routing[0].expert);
  EXPECT_EQ(out.routing.at(0).state, sequence.routing[0].state);
  EXPECT_EQ(out.routing.at(0).place, sequence.routing[0].place);
  EXPECT_EQ(out.layer_digests, sequence.layer_digests);
  EXPECT_EQ(out.error, "reason");
}

}  // namespace
}  // namespace folkmoot
