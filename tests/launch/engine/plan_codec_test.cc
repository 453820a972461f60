// SPDX-License-Identifier: Apache-2.0
#include "launch/plan_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "proto/step.pb.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

SamplingParams SomeSampling() {
  SamplingParams params;
  params.temperature = 0.5f;
  params.top_k = 40;
  params.top_p = 0.9f;
  params.min_p = 0.1f;
  params.seed = 0xffffffffffffffffu;
  params.presence_penalty = -0.5f;
  params.frequency_penalty = 0.25f;
  params.repetition_penalty = 1.25f;
  params.logit_bias = {{3, -1.5f}, {9, 2.0f}};
  params.allowed_ids = {1, 2, 3};
  params.bad_words = {{4, 5}, {6}, {7, 8, 9}};
  params.min_tokens = 11;
  params.suppressed_ids = {2};
  return params;
}

StepPlan SomePlan() {
  StepPlan plan;
  plan.epoch = 3;
  plan.step = 41;
  plan.placement_version = 0xabcdef0123456789u;
  plan.gates = {"", "top_k=1"};
  plan.ranks.resize(2);
  plan.ranks[1].finished = {7, 9};
  plan.ranks[1].starts.push_back({.id = 12,
                                  .tokens = {1, 2, 3, 4, 5},
                                  .prompt_length = 4,
                                  .source = 2,
                                  .written = 1,
                                  .cached = 2,
                                  .cached_blocks = {8},
                                  .answered = 3,
                                  .gate = "top_k=1",
                                  .sampling = SomeSampling(),
                                  .logprobs = 5,
                                  .prompt_logprobs = true,
                                  .top_logprobs = 2,
                                  .trace_routing = true,
                                  .layer_digests = true,
                                  .pooling = Pooling::kMean});
  plan.ranks[1].slices.push_back({.id = 12,
                                  .start = 2,
                                  .count = 3,
                                  .new_blocks = {0, 4},
                                  .sample = true,
                                  .drafts = 2,
                                  .draft = {70, 4},
                                  .allowed = {0x80000001u, 0, 7}});
  plan.ranks[1].slices.push_back({.id = 3, .start = 90, .count = 1, .sample = true});
  return plan;
}

ExpectedPlan Expected() {
  return {.epoch = 3, .step = 41, .ranks = 2, .placement_version = 0xabcdef0123456789u};
}

TEST(PlanCodec, APlanSurvivesTheWire) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  const auto plan = DecodePlan(frame, Expected());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->gates, SomePlan().gates);
  EXPECT_EQ(plan->placement_version, SomePlan().placement_version);
  ASSERT_EQ(plan->ranks.size(), 2u);
  EXPECT_TRUE(plan->ranks[0].slices.empty() && plan->ranks[0].starts.empty());
  const RankPlan& rank = plan->ranks[1];
  EXPECT_EQ(rank.finished, SomePlan().ranks[1].finished);

  ASSERT_EQ(rank.slices.size(), 2u);
  const SequenceSlice& slice = rank.slices[0];
  const SequenceSlice wanted = SomePlan().ranks[1].slices[0];
  EXPECT_EQ(slice.id, wanted.id);
  EXPECT_EQ(slice.start, wanted.start);
  EXPECT_EQ(slice.count, wanted.count);
  EXPECT_EQ(slice.new_blocks, wanted.new_blocks);
  EXPECT_EQ(slice.drafts, wanted.drafts);
  EXPECT_EQ(slice.draft, wanted.draft);
  EXPECT_EQ(slice.allowed, wanted.allowed);
  EXPECT_TRUE(slice.sample);
  EXPECT_TRUE(rank.slices[1].allowed.empty() && rank.slices[1].new_blocks.empty());

  ASSERT_EQ(rank.starts.size(), 1u);
  const SequenceStart& start = rank.starts[0];
  const SequenceStart expected = SomePlan().ranks[1].starts[0];
  EXPECT_EQ(start.id, expected.id);
  EXPECT_EQ(start.tokens, expected.tokens);
  EXPECT_EQ(start.prompt_length, expected.prompt_length);
  EXPECT_EQ(start.source, expected.source);
  EXPECT_EQ(start.written, expected.written);
  EXPECT_EQ(start.cached, expected.cached);
  EXPECT_EQ(start.cached_blocks, expected.cached_blocks);
  EXPECT_EQ(start.answered, expected.answered);
  EXPECT_EQ(start.gate, expected.gate);
  EXPECT_EQ(start.logprobs, expected.logprobs);
  EXPECT_EQ(start.top_logprobs, expected.top_logprobs);
  EXPECT_TRUE(start.prompt_logprobs && start.trace_routing && start.layer_digests);
  EXPECT_EQ(start.pooling, expected.pooling);
}

TEST(PlanCodec, SamplingSurvivesTheWire) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  const auto plan = DecodePlan(frame, Expected());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const SamplingParams& got = plan->ranks[1].starts.at(0).sampling;
  const SamplingParams wanted = SomeSampling();
  EXPECT_EQ(got.temperature, wanted.temperature);
  EXPECT_EQ(got.top_k, wanted.top_k);
  EXPECT_EQ(got.top_p, wanted.top_p);
  EXPECT_EQ(got.min_p, wanted.min_p);
  EXPECT_EQ(got.seed, wanted.seed);
  EXPECT_EQ(got.presence_penalty, wanted.presence_penalty);
  EXPECT_EQ(got.frequency_penalty, wanted.frequency_penalty);
  EXPECT_EQ(got.repetition_penalty, wanted.repetition_penalty);
  EXPECT_EQ(got.logit_bias, wanted.logit_bias);
  EXPECT_EQ(got.allowed_ids, wanted.allowed_ids);
  EXPECT_EQ(got.bad_words, wanted.bad_words);
  EXPECT_EQ(got.min_tokens, wanted.min_tokens);
  EXPECT_EQ(got.suppressed_ids, wanted.suppressed_ids);
}

TEST(PlanCodec, AnotherStepOrEpochIsRefused) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  const auto refusal = [&](const std::function<void(ExpectedPlan*)>& change) {
    ExpectedPlan expected = Expected();
    change(&expected);
    return std::string(Message(DecodePlan(frame, expected).status()));
  };
  EXPECT_THAT(refusal([](ExpectedPlan* p) { p->step = 42; }),
              HasSubstr("is step 41 of epoch 3, but this rank is at step 42 of epoch 3"));
  EXPECT_THAT(refusal([](ExpectedPlan* p) { p->epoch = 4; }), HasSubstr("epoch 4"));
  EXPECT_THAT(refusal([](ExpectedPlan* p) { p->ranks = 3; }),
              HasSubstr("made for 2 ranks, but there are 3"));
  EXPECT_THAT(refusal([](ExpectedPlan* p) { p->placement_version = 1; }),
              HasSubstr("made for the placement abcdef0123456789 of the experts"));
}

TEST(PlanCodec, GatesOutOfOrderAreRefused) {
  StepPlan plan = SomePlan();
  for (const std::vector<std::string>& gates :
       {std::vector<std::string>{"b", "a"}, std::vector<std::string>{"", ""}}) {
    plan.gates = gates;
    std::string frame;
    EncodePlan(plan, &frame);
    EXPECT_THAT(std::string(Message(DecodePlan(frame, Expected()).status())),
                HasSubstr("out of order"));
  }
}

TEST(PlanCodec, EveryDamagedByteIsNoticed) {
  std::string frame;
  EncodePlan(SomePlan(), &frame);
  for (size_t i = 0; i < frame.size(); ++i) {
    std::string damaged = frame;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_FALSE(DecodePlan(damaged, Expected()).ok()) << "byte " << i;
  }
  for (size_t n = 0; n < frame.size(); ++n) {
    EXPECT_FALSE(DecodePlan(frame.substr(0, n), Expected()).ok()) << "first " << n << " bytes";
  }
}

StepResult SomeResult() {
  StepResult result;
  result.expert_tokens = {1, 0, 5};
  result.expert_overflow = {0, 2, 0};
  SequenceResult& sequence = result.sequences.emplace_back();
  sequence.id = 4;
  sequence.token = 17;
  sequence.token_logprob = -0.25f;
  sequence.token_top = {{17, -0.25f}, {3, -1.0f}};
  sequence.target_logprobs = {-1.5f, -2.5f};
  sequence.target_ranks = {1, 20};
  sequence.top_logprobs = {{1, -0.5f}, {2, -0.75f}};
  sequence.drops = {
      {.layer = 1, .rejected = 2, .overflow = 3, .prompt_rejected = 1, .prompt_overflow = 0}};
  sequence.routing = {{.layer = 1,
                       .top_k = 2,
                       .expert = {3, 1},
                       .weight = {0.5f, 0.25f},
                       .state = {0, 2},
                       .place = {0, -1}}};
  sequence.layer_digests = {0xdeadbeefcafef00du};
  sequence.embedding = {0.5f, -2.0f};
  sequence.error = "reason";
  return result;
}

TEST(PlanCodec, AResultSurvivesTheWire) {
  const StepResult result = SomeResult();
  const SequenceResult& sequence = result.sequences[0];
  const auto decoded = DecodeResult(EncodeResult(result));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->expert_tokens, result.expert_tokens);
  EXPECT_EQ(decoded->expert_overflow, result.expert_overflow);
  const SequenceResult& out = decoded->sequences.at(0);
  EXPECT_EQ(out.id, 4);
  EXPECT_EQ(out.token, 17);
  EXPECT_EQ(out.token_logprob, -0.25f);
  ASSERT_EQ(out.token_top.size(), 2u);
  EXPECT_EQ(out.token_top[1].token, 3);
  EXPECT_EQ(out.token_top[1].logprob, -1.0f);
  EXPECT_EQ(out.target_logprobs, sequence.target_logprobs);
  EXPECT_EQ(out.target_ranks, sequence.target_ranks);
  EXPECT_EQ(out.top_logprobs.at(1).token, 2);
  EXPECT_EQ(out.top_logprobs.at(1).logprob, -0.75f);
  EXPECT_EQ(out.drops.at(0).overflow, 3);
  EXPECT_EQ(out.drops.at(0).prompt_rejected, 1);
  EXPECT_EQ(out.routing.at(0).expert, sequence.routing[0].expert);
  EXPECT_EQ(out.routing.at(0).state, sequence.routing[0].state);
  EXPECT_EQ(out.routing.at(0).place, sequence.routing[0].place);
  EXPECT_EQ(out.layer_digests, sequence.layer_digests);
  EXPECT_EQ(out.embedding, sequence.embedding);
  EXPECT_EQ(out.error, "reason");
}

TEST(PlanCodec, ResultsThatAreNotCompleteAreRefused) {
  const std::string good = EncodeResult(SomeResult());
  const std::vector<std::function<void(wire::SequenceResult*)>> changes = {
      [](wire::SequenceResult* r) { r->add_top_tokens(1); },
      [](wire::SequenceResult* r) { r->add_token_top_values(1); },
      [](wire::SequenceResult* r) { r->mutable_drops()->add_layer(2); },
      [](wire::SequenceResult* r) { r->mutable_routing(0)->add_weight(1); },
      [](wire::SequenceResult* r) { r->mutable_routing(0)->set_top_k(0); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    wire::Result result;
    ASSERT_TRUE(result.ParseFromString(good));
    changes[i](result.mutable_sequences(0));
    EXPECT_FALSE(DecodeResult(result.SerializeAsString()).ok()) << i;
  }
  EXPECT_FALSE(DecodeResult("\xff\xff\xff").ok());
}

}  // namespace
}  // namespace folkmoot
