// SPDX-License-Identifier: Apache-2.0
// Overload, deadlines, clients that leave, and the life of the server.
#include <gmock/gmock.h>

#include <thread>

#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

class Manners : public ApiTest {
 protected:
  std::shared_ptr<FakeExchange> Complete(Json extra = Json::object(), HttpHeaders headers = {}) {
    Json body = {{"prompt", "x"}, {"max_tokens", 8}};
    body.update(extra);
    return Post("/v1/completions", body, std::move(headers));
  }
  static std::string CodeOf(const std::shared_ptr<FakeExchange>& exchange) {
    return exchange->json()["error"]["code"];
  }
};

TEST_F(Manners, AFullQueueIs429WithATime) {
  Attach();
  engine.refusal = ResourceExhausted("the queue is full");
  engine.snapshot.waiting = 30;
  engine.snapshot.finished_per_second = 4;
  const auto answer = Complete();
  EXPECT_EQ(answer->response.status, 429);
  EXPECT_EQ(answer->Header("retry-after"), "8");
  EXPECT_EQ(CodeOf(answer), "queue_full");
  engine.refusal = absl::OkStatus();
  EXPECT_FALSE(Complete()->answered);
}

TEST_F(Manners, AListLongerThanTheQueueGoesInPieces) {
  Attach();
  engine.refusal = ResourceExhausted("full");
  engine.room = 2;
  const auto exchange =
      Complete({{"prompt", Json::array({"a", "b", "c", "d"})}, {"max_tokens", 1}});
  EXPECT_FALSE(exchange->answered);
  EXPECT_EQ(engine.taken.size(), 2u);
  engine.room = 3;
  Emit(Event(1, 5, FinishReason::kLength));
  EXPECT_EQ(engine.taken.size(), 3u);
  const int64_t third = engine.last;
  Emit(Event(2, 5, FinishReason::kLength));
  Emit(Event(third, 5, FinishReason::kLength));
  EXPECT_FALSE(exchange->answered);
  // Nothing of this request is in the engine: a timer asks again.
  engine.room = 4;
  ASSERT_FALSE(timers.empty());
  (*timers.back().second.lock())();
  Emit(Event(engine.last, 5, FinishReason::kLength));
  EXPECT_EQ(exchange->response.status, 200);
  EXPECT_EQ(exchange->json()["choices"].size(), 4u);
}

TEST_F(Manners, AListLeavesHalfOfTheQueueToOthers) {
  options.queue_places = 4;
  Attach();
  const auto exchange = Complete({{"prompt", {{1}, {2}, {3}, {4}, {5}}}, {"max_tokens", 1}});
  EXPECT_EQ(engine.taken.size(), 2u);
  for (int64_t id = 1; id <= 5; ++id) {
    EXPECT_FALSE(exchange->answered);
    Emit(Event(id, 5, FinishReason::kLength));
    EXPECT_LE(engine.taken.size(), static_cast<size_t>(id) + 2);
  }
  EXPECT_EQ(exchange->response.status, 200);
}

TEST_F(Manners, AListGoesThroughAQueueOfOnePlace) {
  options.queue_places = 1;
  Attach();
  const auto exchange = Complete({{"prompt", {{1}, {2}}}, {"max_tokens", 1}});
  EXPECT_EQ(engine.taken.size(), 1u);
  for (int64_t id = 1; id <= 2; ++id) Emit(Event(id, 5, FinishReason::kLength));
  EXPECT_EQ(exchange->response.status, 200);
}

TEST_F(Manners, AClientThatLeavesFreesItsRequests) {
  Attach();
  const auto exchange = Complete({{"prompt", Json::array({"a", "b"})}, {"stream", true}});
  ASSERT_TRUE(exchange->gone);
  exchange->gone();
  EXPECT_EQ(engine.cancelled.size(), 2u);
  EXPECT_EQ(front_end->running(), 0u);
  Emit(Event(engine.last, 5));
  Emit(Event(engine.last, -1, FinishReason::kAborted));
  EXPECT_EQ(exchange->stream, "");
}

TEST_F(Manners, DeadlinesMayOnlyBeShortened) {
  options.request_timeout = std::chrono::seconds(10);
  Attach();
  const auto plain = Complete();
  EXPECT_EQ(timers.back().first, std::chrono::seconds(10));
  Complete({{"timeout", 2.5}});
  EXPECT_EQ(timers.back().first, std::chrono::milliseconds(2500));
  Complete({{"timeout", 60}});
  EXPECT_EQ(timers.back().first, std::chrono::seconds(10));
  Complete(Json::object(), {{"x-request-timeout", "0.5"}});
  EXPECT_EQ(timers.back().first, std::chrono::milliseconds(500));
  for (const char* bad : {"x", "-1", "0", "nan", "inf", "1e9", "1s"}) {
    EXPECT_EQ(Complete(Json::object(), {{"x-request-timeout", bad}})->response.status, 400) << bad;
  }
  (*timers.front().second.lock())();
  EXPECT_EQ(plain->response.status, 504);
  EXPECT_EQ(plain->Header("x-should-retry"), "false");
  EXPECT_EQ(CodeOf(plain), "deadline_exceeded_before_first_token");
  EXPECT_EQ(engine.cancelled, std::vector<int64_t>{1});
}

TEST_F(Manners, ADeadlineInAStreamIsAnErrorEvent) {
  Attach();
  const auto exchange = Complete({{"stream", true}, {"timeout", 1}});
  Emit(Event(engine.last, 5));
  (*timers.back().second.lock())();
  EXPECT_TRUE(exchange->ended);
  const std::vector<std::string> events = exchange->events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(Json::parse(events[1])["error"]["code"], "deadline_exceeded");
  EXPECT_EQ(exchange->stream.find("[DONE]"), std::string::npos);
}

TEST_F(Manners, ASilentStreamGetsPings) {
  options.ping_interval = std::chrono::milliseconds(1);
  Attach();
  const auto whole = Complete();
  EXPECT_TRUE(timers.empty());
  const auto exchange = Complete({{"stream", true}});
  const auto fire = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    (*timers.back().second.lock())();
  };
  EXPECT_EQ(timers.back().first, options.ping_interval);
  fire();
  EXPECT_EQ(exchange->content_type, "text/event-stream");
  EXPECT_EQ(exchange->stream, ": ping\n\n");
  exchange->unread = 1;  // nobody reads: nothing is added
  fire();
  exchange->unread = 0;
  fire();
  EXPECT_EQ(exchange->stream, ": ping\n\n: ping\n\n");
  Emit(Event(engine.last, 5, FinishReason::kLength));
  EXPECT_THAT(exchange->stream, testing::HasSubstr("data: [DONE]"));
  EXPECT_EQ(timers.back().second.lock(), nullptr) << "it ends with the request";
  EXPECT_FALSE(whole->answered);
}

TEST_F(Manners, AStreamThatSpeaksGetsNoPings) {
  options.ping_interval = std::chrono::hours(1);
  Attach();
  const auto exchange = Complete({{"stream", true}});
  (*timers.back().second.lock())();
  EXPECT_FALSE(exchange->streaming) << "an error would still have a status of its own";
  EXPECT_GT(timers.back().first, std::chrono::minutes(59));
  EXPECT_LE(timers.back().first, std::chrono::hours(1));
}

TEST_F(Manners, PingsCanBeOff) {
  options.ping_interval = {};
  Attach();
  Complete({{"stream", true}});
  EXPECT_TRUE(timers.empty());
}

TEST_F(Manners, ErrorsOfTheEngineReachTheClient) {
  Attach();
  const auto wrong = Complete();
  OutputEvent event = Event(engine.last, -1, FinishReason::kError);
  event.error = "longer than all pages";
  event.rejected = true;
  Emit(event);
  EXPECT_EQ(wrong->response.status, 400);
  EXPECT_EQ(wrong->json()["error"]["message"], "longer than all pages");

  const auto broken = Complete();
  event.request = engine.last;
  event.rejected = false;
  event.error = "NaN in the logits";
  Emit(event);
  EXPECT_EQ(broken->response.status, 500);
  EXPECT_EQ(broken->Header("x-should-retry"), "false");
  EXPECT_EQ(CodeOf(broken), "engine_error");
  EXPECT_EQ(front_end->running(), 0u);
}

TEST_F(Manners, WhileLoadingItIsLiveAndNotReady) {
  front_end = std::make_unique<FrontEnd>(options);
  routes = front_end->Routes();
  EXPECT_EQ(Send("GET", "/health", "")->response.status, 200);
  EXPECT_EQ(Send("GET", "/ready", "")->response.status, 503);
  for (const Route& route : routes) {
    const std::string path = route.path == "/v1/models/*" ? "/v1/models/x" : route.path;
    if (route.open || path == "/ping" || path == "/load" || path == "/version") continue;
    const auto answer = Send(route.method, path, "{}");
    EXPECT_EQ(answer->response.status, 503) << path;
    EXPECT_EQ(answer->json()["error"]["code"], "loading") << path;
  }
}

TEST_F(Manners, OnlyProbesAreOpen) {
  Attach();
  for (const Route& route : routes) {
    EXPECT_EQ(route.open, route.path == "/health" || route.path == "/ready") << route.path;
  }
}

TEST_F(Manners, DrainingFinishesWhatRuns) {
  Attach();
  EXPECT_EQ(Send("GET", "/ready", "")->response.status, 200);
  const auto running = Complete();
  front_end->Drain();
  EXPECT_EQ(Send("GET", "/ready", "")->response.status, 503);
  EXPECT_EQ(Send("GET", "/health", "")->response.status, 200);
  const auto refused = Complete();
  EXPECT_EQ(refused->response.status, 503);
  EXPECT_EQ(CodeOf(refused), "draining");
  Emit(Event(1, 5, FinishReason::kLength));
  EXPECT_EQ(running->response.status, 200);
}

TEST_F(Manners, ADeadEngineFailsEverything) {
  Attach();
  const auto whole = Complete();
  const auto stream = Complete({{"stream", true}});
  Emit(Event(engine.last, 5));
  front_end->EngineEnded("the engine has failed");
  EXPECT_EQ(whole->response.status, 503);
  EXPECT_EQ(Json::parse(stream->events().back())["error"]["code"], "engine_dead");
  EXPECT_TRUE(stream->ended);
  EXPECT_EQ(Send("GET", "/health", "")->response.status, 503);
  EXPECT_EQ(Complete()->response.status, 503);
}

TEST_F(Manners, AStallIsNotReady) {
  Attach();
  engine.snapshot.running = 1;
  engine.snapshot.last_step = std::chrono::steady_clock::now();
  EXPECT_EQ(Send("GET", "/ready", "")->response.status, 200);
  engine.snapshot.last_step -= std::chrono::minutes(2);
  EXPECT_EQ(Send("GET", "/ready", "")->response.status, 503);
}

class Info : public ApiTest {
 protected:
  Json Get(const std::string& path) { return Send("GET", path, "")->json(); }
};

TEST_F(Info, Models) {
  Attach();
  const Json list = Get("/v1/models");
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2u);
  EXPECT_EQ(list["data"][0], Json::parse(R"({"id": "demo", "object": "model", "created": 1700000000,
    "owned_by": "folkmoot", "root": "models/demo-kjv", "parent": null, "max_model_len": 64,
    "permission": []})"));
  EXPECT_EQ(Get("/v1/models/alias")["id"], "alias");
  EXPECT_EQ(Send("GET", "/v1/models/x/../y", "")->response.status, 404);
  EXPECT_EQ(Get("/version"), Json::parse(R"({"version": "1.2.3"})"));
  EXPECT_EQ(Get("/load"), Json::parse(R"({"server_load": 0})"));
  EXPECT_EQ(Get("/get_model_info")["is_generation"], true);
  EXPECT_EQ(Get("/server_info")["ep_size"], 2);
}

TEST_F(Info, TokenizeAndBack) {
  Attach();
  const std::string text = "In the beginning \xe2\x82\xac";
  const std::vector<int32_t> ids = Ids(text);
  const auto one = Post("/tokenize", {{"model", "demo"}, {"prompt", text}})->json();
  EXPECT_EQ(one["tokens"], Json(ids));
  EXPECT_EQ(one["count"], ids.size());
  EXPECT_EQ(one["max_model_len"], 64);
  EXPECT_EQ(Post("/tokenize", {{"content", text}})->json()["tokens"], Json(ids));
  const auto strings =
      Post("/tokenize", {{"prompt", "In"}, {"return_token_strs", true}})->json()["token_strs"];
  EXPECT_EQ(strings.size(), Ids("In").size());
  const auto back = Post("/detokenize", {{"tokens", ids}})->json();
  EXPECT_EQ(back["prompt"], text);
  EXPECT_EQ(back["content"], text);
  EXPECT_EQ(Post("/tokenize", {{"prompt", "<|endoftext|>"}})->json()["tokens"], Json::array({0}));
  EXPECT_NE(
      Post("/tokenize", {{"prompt", "<|endoftext|>"}, {"parse_special", false}})->json()["tokens"],
      Json::array({0}));
}

TEST_F(Info, TokenizerInfo) {
  model.tokenizer_config = R"({"eos_token": {"content": "<|endoftext|>"}, "model_max_length": 9})";
  model.chat_template = "{{ messages }}";
  Attach();
  const Json info = Get("/tokenizer_info");
  EXPECT_EQ(info["eos_token"], "<|endoftext|>");
  EXPECT_EQ(info["bos_token"], nullptr);
  EXPECT_EQ(info["model_max_length"], 9);
  EXPECT_EQ(info["chat_template"], "{{ messages }}");
}

TEST_F(Info, WithoutATokenizerIdsStillWork) {
  model.tokenizer.reset();
  Attach();
  EXPECT_EQ(Post("/v1/completions", {{"prompt", "x"}})->response.status, 400);
  const auto exchange =
      Post("/v1/completions", {{"prompt", {1, 2}}, {"return_token_ids", true}, {"max_tokens", 1}});
  Emit(Event(engine.last, 7, FinishReason::kLength));
  EXPECT_EQ(exchange->json()["choices"][0]["token_ids"], Json({7}));
  EXPECT_EQ(exchange->json()["choices"][0]["text"], "");
}

}  // namespace
}  // namespace folkmoot
