// SPDX-License-Identifier: Apache-2.0
// A journal, the front end that wrote it, and the one that comes after it.
#include <gmock/gmock.h>

#include <functional>

#include "launch/api/request_journal.h"
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

using testing::HasSubstr;
using testing::Not;

// Keeps everything in memory, committed or not.
class FakeJournal : public RequestJournal {
 public:
  std::vector<JournaledRequest> TakeRequests() override { return std::exchange(found, {}); }
  uint64_t Accept(const HttpRequest& http, uint64_t fresh_seed, int64_t now) override {
    requests.push_back(
        {.id = requests.size() + 1, .http = http, .fresh_seed = fresh_seed, .now = now});
    return requests.size();
  }
  void Add(uint64_t id, size_t prompt, const OutputEvent& event) override {
    requests.at(id - 1).events.push_back({.prompt = prompt, .event = event});
  }
  void End(uint64_t id) override { requests.at(id - 1).ended = true; }
  void Commit() override {
    ++commits;
    if (on_commit) on_commit();
  }
  JournalCounts counts() const override { return {}; }

  std::vector<JournaledRequest> found, requests;
  int commits = 0;
  std::function<void()> on_commit;
};

class Resumption : public ApiTest {
 protected:
  void AttachWithJournal() {
    Attach();
    front_end->UseJournal(journal);
  }
  // The process is gone; another one finds its journal.
  void ComeBack() {
    front_end.reset();
    journal.found = std::exchange(journal.requests, {});
    journal.requests = journal.found;  // as FileJournal writes them anew
    engine = FakeEngine();
    DescribeModel();
    AttachWithJournal();
  }
  std::shared_ptr<FakeExchange> Return(size_t after, HttpHeaders headers = {}) {
    headers.emplace_back("last-event-id", std::to_string(after));
    return Send("GET", "/v1/requests/abc", "", std::move(headers));
  }

  FakeJournal journal;
};

const Json kStream = {{"prompt", "And the king"}, {"max_tokens", 20}, {"stream", true}};

TEST_F(Resumption, AStreamGoesOnInTheNextProcess) {
  AttachWithJournal();
  const auto first = Post("/v1/completions", kStream);
  const uint64_t seed = taken().sampling.seed;
  const std::vector<int32_t> ids = Ids(" said unto the people of the land");
  ASSERT_GT(ids.size(), 4u);
  for (size_t i = 0; i < 3; ++i) Emit(Event(engine.last, ids[i]));
  EXPECT_THAT(first->stream, HasSubstr("id: 3\ndata: "));
  EXPECT_THAT(first->stream, Not(HasSubstr("id: 4\n")));
  ComeBack();
  ASSERT_EQ(taken().so_far.size(), 1u);
  EXPECT_EQ(taken().so_far[0].tokens, std::vector<int32_t>(ids.begin(), ids.begin() + 3));
  EXPECT_EQ(taken().sampling.seed, seed) << "the one that nobody named";
  const auto second = Return(2);
  EXPECT_THAT(second->stream, HasSubstr("id: 3\ndata: "));
  EXPECT_THAT(second->stream, Not(HasSubstr("id: 2\n")));
  for (size_t i = 3; i < ids.size(); ++i) {
    Emit(Event(engine.last, ids[i],
               i + 1 == ids.size() ? FinishReason::kLength : FinishReason::kNone));
  }
  EXPECT_TRUE(second->ended);
  EXPECT_THAT(second->stream, HasSubstr("data: [DONE]"));
  // From the beginning, and what the first client had is what stands there.
  const auto whole = Return(0);
  EXPECT_THAT(whole->stream, testing::StartsWith(first->stream));
  EXPECT_TRUE(whole->ended);
  EXPECT_TRUE(journal.requests.at(0).ended);
}

TEST_F(Resumption, AnAnswerInOnePieceIsKept) {
  AttachWithJournal();
  const auto exchange = Post("/v1/completions", {{"prompt", "And"}, {"max_tokens", 4}});
  Say(" the king", FinishReason::kStop);
  ASSERT_TRUE(exchange->answered);
  ComeBack();
  EXPECT_TRUE(engine.taken.empty()) << "nothing is left to do";
  EXPECT_EQ(Return(0)->json(), exchange->json());
}

TEST_F(Resumption, ChoicesThatEndedStayEnded) {
  AttachWithJournal();
  Json body = kStream;
  body["n"] = 3;
  Post("/v1/completions", body);
  const int64_t id = engine.last;
  Emit(Event(id, 40, FinishReason::kNone, 0));
  Emit(Event(id, 41, FinishReason::kLength, 1));
  ComeBack();
  ASSERT_EQ(taken().so_far.size(), 3u);
  EXPECT_EQ(taken().so_far[0].tokens, std::vector<int32_t>{40});
  EXPECT_FALSE(taken().so_far[0].ended);
  EXPECT_TRUE(taken().so_far[1].ended);
  EXPECT_TRUE(taken().so_far[2].tokens.empty());
}

TEST_F(Resumption, WhatNobodyHasHeardOfBeginsAnew) {
  AttachWithJournal();
  Post("/v1/completions", kStream);
  ComeBack();
  EXPECT_TRUE(taken().so_far.empty());
  EXPECT_EQ(taken().prompt, Ids("And the king"));
}

// A client that leaves ends its request: an answer that nobody completes is not waited for.
TEST_F(Resumption, WhoLeavesDoesNotComeBack) {
  AttachWithJournal();
  const auto first = Post("/v1/completions", kStream);
  Emit(Event(engine.last, 40));
  ASSERT_TRUE(first->gone);
  std::exchange(first->gone, nullptr)();
  EXPECT_EQ(Return(0)->response.status, 404);
  // A later request of the same id is another one.
  const auto second = Post("/v1/completions", kStream);
  Emit(Event(engine.last, 40));
  EXPECT_TRUE(Return(0)->streaming);
}

TEST_F(Resumption, AnswersAreTheirOwnersAlone) {
  AttachWithJournal();
  Send("POST", "/v1/completions", kStream.dump(), {{"authorization", "Bearer mine"}});
  Emit(Event(engine.last, 40));
  EXPECT_EQ(Return(0)->response.status, 404);
  EXPECT_EQ(Return(0, {{"authorization", "Bearer other"}})->response.status, 404);
  EXPECT_TRUE(Return(0, {{"authorization", "Bearer mine"}})->streaming);
  for (const auto& [name, value] : journal.requests.at(0).http.headers) {
    EXPECT_THAT(value, Not(HasSubstr("mine"))) << name;
  }
  ComeBack();
  EXPECT_EQ(Return(0)->response.status, 404);
  EXPECT_TRUE(Return(0, {{"authorization", "Bearer mine"}})->streaming);
}

TEST_F(Resumption, WrongQuestionsAreNamed) {
  AttachWithJournal();
  Post("/v1/completions", kStream);
  EXPECT_EQ(Send("GET", "/v1/requests/other", "")->response.status, 404);
  EXPECT_EQ(Send("GET", "/v1/requests/abc", "", {{"last-event-id", "x"}})->response.status, 400);
}

TEST_F(Resumption, WithoutAJournalNothingIsKeptAndNoNumbersAreSent) {
  Attach();
  const auto exchange = Post("/v1/completions", kStream);
  Emit(Event(engine.last, 40));
  EXPECT_THAT(exchange->stream, Not(HasSubstr("id: ")));
  EXPECT_EQ(Return(0)->response.status, 404);
}

TEST_F(Resumption, EventsAreWrittenDownBeforeTheyAreSent) {
  AttachWithJournal();
  const auto exchange = Post("/v1/completions", kStream);
  EXPECT_GT(journal.commits, 0);
  bool written = false;
  journal.on_commit = [&] {
    if (written || journal.requests.at(0).events.empty()) return;
    written = true;
    EXPECT_THAT(exchange->stream, Not(HasSubstr("data: ")));
  };
  Emit(Event(engine.last, 40));
  EXPECT_TRUE(written);
  EXPECT_THAT(exchange->stream, HasSubstr("id: 1\ndata: "));
  EXPECT_EQ(journal.requests.at(0).events.size(), 1u);
  exchange->gone();  // the client leaves: its request ends, as without a journal
  EXPECT_TRUE(journal.requests.at(0).ended);
}

}  // namespace
}  // namespace folkmoot
