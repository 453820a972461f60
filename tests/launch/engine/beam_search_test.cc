// SPDX-License-Identifier: Apache-2.0
// Beam search: the outputs and scores of `generate` of Transformers for models with and without an
// encoder, the same bits however it is run, and the rules by themselves.
#include "launch/beam_search.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "tests/support/golden_case.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;

double ScoreOf(const RunOutcome& outcome, const BeamParams& beams) {
  double sum = 0;
  for (const float logprob : outcome.token_logprobs) sum += static_cast<double>(logprob);
  const auto length = static_cast<double>(beams.begun + std::ssize(outcome.tokens));
  return sum / std::pow(length, beams.length_penalty);
}

// `first` is the outcome of the request's first choice.
void ExpectSearch(const nlohmann::json& expected, const Request& request, const RunOutcome* first) {
  for (size_t i = 0; i < expected["sequences"].size(); ++i) {
    std::vector<int32_t> tokens = expected["sequences"][i].get<std::vector<int32_t>>();
    tokens.erase(tokens.begin(), tokens.begin() + request.beams.begun);
    EXPECT_EQ(first[i].tokens, tokens) << expected.dump();
    EXPECT_NEAR(ScoreOf(first[i], request.beams), expected["scores"][i].get<double>(), 1e-3);
  }
}

std::vector<std::string> WithBeams() {
  std::vector<std::string> names;
  for (const std::string& name : GoldenVariants()) {
    const bool encodes = name.starts_with("switch_transformers-") || name.starts_with("nllb-moe-");
    if (encodes && !GoldenCase(name).beams.empty()) names.push_back(name);
  }
  return names;
}

class GoldenBeams : public testing::TestWithParam<std::string> {
 protected:
  GoldenCase case_{GetParam()};
};

TEST_P(GoldenBeams, EqualTransformers) {
  const auto outcomes = RunRequests(case_.setup, case_.beams);
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  size_t at = 0;
  for (size_t i = 0; i < case_.beams.size(); ++i) {
    ExpectSearch(case_.golden["beams"][i], case_.beams[i], &(*outcomes)[at]);
    at += static_cast<size_t>(case_.beams[i].n);
  }
}

TEST_P(GoldenBeams, SameBitsAtThreeRanksAndInAnyCompany) {
  std::vector<Request> requests = case_.beams;
  requests.insert(requests.end(), case_.requests.begin(), case_.requests.end());
  RunSetup alone = case_.setup;
  alone.alone = true;
  alone.adjust = [](SchedulerOptions& scheduler) { scheduler.prefix_caching = false; };
  const auto expected = RunRequests(alone, requests);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (const int ranks : {1, 3}) {
    RunSetup setup = case_.setup;
    setup.ranks = ranks;
    setup.plan_ahead = true;
    const auto outcomes = RunRequests(setup, requests);
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    for (size_t i = 0; i < expected->size(); ++i) {
      EXPECT_TRUE((*outcomes)[i] == (*expected)[i]) << ranks << " ranks, outcome " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenBeams, testing::ValuesIn(WithBeams()), GoldenTestName);

// tests/data/beams.json, by tools/make_beam_goldens.py.
TEST(DecoderBeams, EqualTransformers) {
  const auto searches =
      nlohmann::json::parse(std::ifstream(std::string(FOLKMOOT_TEST_DATA) + "/beams.json"));
  ASSERT_FALSE(searches.empty());
  for (const auto& search : searches) {
    const GoldenCase golden(search["model"].get<std::string>());
    const Request request = BeamsOf(search, {{"eos_token_id", search["eos_token_id"]}});
    const auto outcomes = RunRequests(golden.setup, {request});
    ASSERT_TRUE(outcomes.ok()) << outcomes.status();
    ExpectSearch(search, request, outcomes->data());
  }
}

std::string ErrorOf(const RunSetup& setup, const Request& request) {
  return std::string(RunRequests(setup, {request}).status().message());
}

TEST(BeamErrors, NameTheField) {
  const GoldenCase golden("mixtral-classic");
  Request request = golden.requests.back();
  request.beams.width = 2;
  request.n = 3;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("n is 3: beam search finds at most"));
  request.n = 1;
  request.sampling.repetition_penalty = 2;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("without penalties"));
  request.sampling.repetition_penalty = 1;
  request.beams.width = 60;
  EXPECT_THAT(ErrorOf(golden.setup, request), HasSubstr("looks at 120 tokens"));
}

TEST(BeamRequests, AbortEndsEveryOutputOnceAndFreesThePages) {
  const GoldenCase golden(std::string("switch_transformers-capacity"));
  Request request = golden.beams.back();
  request.n = 2;
  const auto body = [&](Engine& engine, LoadedRank&) -> absl::Status {
    std::vector<RequestEvent> events;
    const auto hear = [&](const RequestEvent& event) { events.push_back(event); };
    FM_ASSIGN_OR_RETURN(const int64_t id, engine.Submit(request));
    for (int step = 0; step < 3; ++step) FM_RETURN_IF_ERROR(engine.Step(hear));
    EXPECT_TRUE(events.empty());
    engine.Abort(id, 0);  // outputs of a search end together
    engine.Abort(id);
    FM_RETURN_IF_ERROR(engine.Drain(hear));
    EXPECT_EQ(events.size(), 2u);
    for (const RequestEvent& event : events) EXPECT_EQ(event.finish, FinishReason::kAborted);
    EXPECT_EQ(engine.scheduler().used_blocks(), 0);
    // Another one finds the engine as it was.
    events.clear();
    FM_RETURN_IF_ERROR(engine.Submit(request).status());
    FM_RETURN_IF_ERROR(engine.Drain(hear));
    EXPECT_EQ(std::count_if(events.begin(), events.end(),
                            [](const RequestEvent& event) {
                              return event.finish == FinishReason::kLength ||
                                     event.finish == FinishReason::kStop;
                            }),
              2);
    return absl::OkStatus();
  };
  const absl::Status status =
      RunOnThreadRanks(golden.setup.options, 1, 1, body, [](SchedulerOptions&) {});
  EXPECT_TRUE(status.ok()) << status;
}

// A search goes on in a new server by beginning anew; what was told is not told again.
TEST(BeamRequests, TellOnlyWhatWasNotTold) {
  const GoldenCase golden(std::string("switch_transformers-capacity"));
  Request request = golden.beams.back();
  request.n = 2;
  const auto body = [&](Engine& engine, LoadedRank&) -> absl::Status {
    std::vector<std::vector<int32_t>> tokens(2);
    std::vector<std::string> errors(2);
    const auto hear = [&](const RequestEvent& event) {
      const auto choice = static_cast<size_t>(event.choice);
      errors[choice] = event.result->error;
      if (errors[choice].empty()) tokens[choice].push_back(event.result->token);
    };
    const auto search = [&](const std::vector<ChoiceSoFar>& so_far) {
      tokens.assign(2, {});
      request.so_far = so_far;
      const absl::Status submitted = engine.Submit(request).status();
      return submitted.ok() ? engine.Drain(hear) : submitted;
    };
    FM_RETURN_IF_ERROR(search({}));
    const std::vector<std::vector<int32_t>> whole = tokens;
    FM_RETURN_IF_ERROR(search({{.tokens = whole[0], .ended = true}, {.tokens = {whole[1][0]}}}));
    EXPECT_TRUE(tokens[0].empty());
    EXPECT_EQ(tokens[1], std::vector<int32_t>(whole[1].begin() + 1, whole[1].end()));
    EXPECT_EQ(errors[1], "");
    FM_RETURN_IF_ERROR(search({{}, {.tokens = {whole[1][0] ^ 1}}}));
    EXPECT_EQ(tokens[0], whole[0]);
    EXPECT_TRUE(tokens[1].empty());
    EXPECT_THAT(errors[1], HasSubstr("found another output"));
    return absl::OkStatus();
  };
  const absl::Status status =
      RunOnThreadRanks(golden.setup.options, 1, 1, body, [](SchedulerOptions&) {});
  EXPECT_TRUE(status.ok()) << status;
}

// A model of 4 tokens, 3 ending the output, whose log-probabilities depend on all tokens before.
std::vector<TokenLogprob> ToyAnswer(const Beam& beam) {
  uint64_t state = 7;
  for (const SequenceResult& token : beam.tokens) {
    state = (state * 31 + static_cast<uint64_t>(token.token) + 1) % 1009;
  }
  std::vector<TokenLogprob> all;
  for (int32_t token = 0; token < 4; ++token) {
    state = (state * 57 + 11) % 1009;
    all.push_back({token, -0.1f - static_cast<float>(state % 400) / 100});
  }
  std::sort(all.begin(), all.end(),
            [](const TokenLogprob& a, const TokenLogprob& b) { return a.logprob > b.logprob; });
  return all;
}

double BestOfAll(const Beam& beam, int64_t left) {
  double best = -1e9;
  for (const TokenLogprob& token : ToyAnswer(beam)) {
    Beam next = beam;
    next.sum += static_cast<double>(token.logprob);
    next.tokens.emplace_back().token = token.token;
    const bool ends = token.token == 3 || left == 1;
    best = std::max(best, ends ? next.sum : BestOfAll(next, left - 1));
  }
  return best;
}

TEST(BeamSearch, WithBeamsForAllItFindsTheBest) {
  BeamSearch search({.width = 81, .length_penalty = 0, .early_stopping = EarlyStopping::kNever},
                    {3}, 4, 0);
  while (!search.done()) {
    std::vector<BeamAnswer> answers;
    for (const Beam& beam : search.running()) answers.push_back({ToyAnswer(beam), {}});
    search.Advance(answers);
  }
  EXPECT_NEAR(search.finished().front().score, BestOfAll({}, 4), 1e-6);
}

TEST(BeamSearch, OneBeamIsGreedy) {
  BeamSearch search({.width = 1}, {}, 5, 0);
  Beam greedy;
  while (!search.done()) {
    const std::vector<BeamAnswer> answers = {{ToyAnswer(search.running().front()), {}}};
    const int32_t token = ToyAnswer(greedy).front().token;
    greedy.tokens.emplace_back().token = token;
    search.Advance(answers);
  }
  ASSERT_EQ(search.finished().front().tokens.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(search.finished().front().tokens[i].token, greedy.tokens[i].token);
  }
}

}  // namespace
}  // namespace folkmoot
