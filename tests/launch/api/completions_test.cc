// SPDX-License-Identifier: Apache-2.0
// POST /v1/completions: what reaches the engine, and the exact answers.
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

class Completions : public ApiTest {
 protected:
  Json Body(const std::shared_ptr<FakeExchange>& exchange) {
    EXPECT_EQ(exchange->response.status, 200) << exchange->response.body;
    Json json = exchange->json();
    EXPECT_GT(json["created"].get<int64_t>(), 1'700'000'000);
    json["created"] = 1;
    return json;
  }
};

TEST_F(Completions, TheAnswerHasOpenAisShape) {
  Attach();
  const auto exchange = Post(
      "/v1/completions", {{"model", "demo"}, {"prompt", "In the beginning"}, {"max_tokens", 3}});
  Say(" God created", FinishReason::kLength);
  const auto tokens = static_cast<int64_t>(Ids(" God created").size());
  const auto prompt = static_cast<int64_t>(taken().prompt.size());
  EXPECT_EQ(Body(exchange), Json::parse(R"({
    "id": "cmpl-abc", "object": "text_completion", "created": 1, "model": "demo",
    "choices": [{"index": 0, "text": " God created", "logprobs": null, "finish_reason": "length",
                 "stop_reason": null, "prompt_logprobs": null}],
    "usage": {"prompt_tokens": )" + std::to_string(prompt) +
                                        R"(, "total_tokens": )" + std::to_string(prompt + tokens) +
                                        R"(, "completion_tokens": )" + std::to_string(tokens) +
                                        R"(, "prompt_tokens_details": {"cached_tokens": 0}}})"));
}

TEST_F(Completions, ParametersReachTheEngine) {
  model.defaults = {.temperature = 0.7f, .top_p = 0.9f, .repetition_penalty = 1.2f, .top_k = 5};
  model.priorities = true;
  Attach();
  Post("/v1/completions", {{"prompt", {1, 2, 3}}});
  EXPECT_EQ(taken().prompt, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(taken().max_tokens, 16);
  EXPECT_EQ(taken().sampling.temperature, 0.7f);
  EXPECT_EQ(taken().sampling.top_p, 0.9f);
  EXPECT_EQ(taken().sampling.top_k, 5);
  EXPECT_EQ(taken().sampling.repetition_penalty, 1.2f);
  EXPECT_EQ(taken().stop_ids, std::vector<int32_t>{0});
  EXPECT_EQ(taken().cache_salt, 0u);
  EXPECT_EQ(taken().logprobs, -1);
  const uint64_t first_seed = taken().sampling.seed;

  Post("/v1/completions", Json::parse(R"({"prompt": [1], "max_tokens": 7, "min_tokens": 2, "n": 3,
    "temperature": 0, "top_p": 0.5, "top_k": -1, "min_p": 0.1, "seed": -1, "presence_penalty": 1,
    "frequency_penalty": -1, "repetition_penalty": 2, "logit_bias": {"7": 3, "5": -100},
    "allowed_token_ids": [9, 3, 9], "stop_token_ids": [8], "logprobs": 4, "priority": -3,
    "cache_salt": "s", "bad_words": ["God"]})"));
  const SamplingParams& sampling = taken().sampling;
  EXPECT_NE(first_seed, sampling.seed);
  EXPECT_EQ(taken().n, 3);
  EXPECT_EQ(taken().max_tokens, 7);
  EXPECT_EQ(taken().priority, -3);
  EXPECT_EQ(taken().logprobs, 4);
  EXPECT_NE(taken().cache_salt, 0u);
  EXPECT_EQ(taken().stop_ids, (std::vector<int32_t>{0, 8}));
  EXPECT_EQ(sampling.suppressed_ids, (std::vector<int32_t>{0, 8}));
  EXPECT_EQ(sampling.min_tokens, 2);
  EXPECT_EQ(sampling.seed, uint64_t(-1));
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_EQ(sampling.top_k, -1);
  EXPECT_EQ(sampling.logit_bias, (std::vector<std::pair<int32_t, float>>{{5, -100.0f}, {7, 3.0f}}));
  EXPECT_EQ(sampling.allowed_ids, (std::vector<int32_t>{3, 9}));
  ASSERT_FALSE(sampling.bad_words.empty());
  EXPECT_EQ(sampling.bad_words[0], Ids("God"));

  Post("/v1/completions", {{"prompt", {1}}, {"ignore_eos", true}});
  EXPECT_TRUE(taken().stop_ids.empty());
}

TEST_F(Completions, SaltsSeparateTenantsAndAreStable) {
  Attach();
  const auto salt = [&](const Json& extra, HttpHeaders headers) {
    Json body = {{"prompt", {1}}};
    body.update(extra);
    Post("/v1/completions", body, std::move(headers));
    return taken().cache_salt;
  };
  const uint64_t a = salt({{"cache_salt", "a"}}, {});
  EXPECT_EQ(a, salt({{"cache_salt", "a"}}, {}));
  EXPECT_NE(a, salt({{"cache_salt", "b"}}, {}));
  const uint64_t key = salt(Json::object(), {{"authorization", "Bearer 1"}});
  EXPECT_NE(key, 0u);
  EXPECT_NE(key, salt(Json::object(), {{"authorization", "Bearer 2"}}));
  EXPECT_NE(key, salt({{"cache_salt", "a"}}, {{"authorization", "Bearer 1"}}));
}

TEST_F(Completions, ManyPromptsTimesChoicesAreNumberedPromptMajor) {
  Attach();
  const auto exchange = Post(
      "/v1/completions", {{"prompt", Json::array({"one", "two"})}, {"n", 2}, {"max_tokens", 1}});
  ASSERT_EQ(engine.taken.size(), 2u);
  const int64_t first = engine.taken.begin()->first;
  const int64_t second = engine.last;
  const int32_t a = Ids(" a")[0];
  Emit(Event(second, a, FinishReason::kLength, 1));
  Emit(Event(first, a, FinishReason::kLength, 0));
  Emit(Event(second, a, FinishReason::kStop, 0));
  EXPECT_FALSE(exchange->answered);
  Emit(Event(first, a, FinishReason::kLength, 1));
  const Json json = Body(exchange);
  ASSERT_EQ(json["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(json["choices"][i]["index"], i);
  EXPECT_EQ(json["choices"][2]["finish_reason"], "stop");
  EXPECT_EQ(json["usage"]["completion_tokens"], 4);
  EXPECT_TRUE(engine.cancelled.empty());
}

// As lm-eval asks: the prompt's log-probabilities line up with the ids that were sent.
TEST_F(Completions, EchoWithLogprobs) {
  Attach();
  const std::vector<int32_t> ids = Ids("In the beginning");
  const auto exchange = Post("/v1/completions", {{"prompt", Json::array({ids})},
                                                 {"max_tokens", 1},
                                                 {"logprobs", 1},
                                                 {"echo", true},
                                                 {"temperature", 0},
                                                 {"seed", 1234}});
  EXPECT_TRUE(taken().prompt_logprobs);
  EXPECT_EQ(taken().top_logprobs, 1);
  const int32_t other = Ids(" God")[0];
  for (size_t i = 1; i < ids.size(); ++i) {  // one event per piece of the prompt
    OutputEvent piece = Event(engine.last, -1);
    piece.result.target_logprobs = {-0.1f * static_cast<float>(i)};
    piece.result.target_ranks = {i == 1 ? 1 : 2};
    piece.result.top_logprobs = {{i == 1 ? ids[i] : other, -0.1f}};
    if (i + 1 == ids.size()) {
      piece.result.token = other;
      piece.result.token_logprob = -0.3f;
      piece.result.token_top = {{other, -0.3f}};
      piece.finish = FinishReason::kLength;
    }
    Emit(std::move(piece));
  }
  const Json choice = Body(exchange)["choices"][0];
  EXPECT_EQ(choice["text"], "In the beginning God");
  const Json& logprobs = choice["logprobs"];
  ASSERT_EQ(logprobs["tokens"].size(), ids.size() + 1);
  EXPECT_EQ(logprobs["token_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["top_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["token_logprobs"][1], static_cast<double>(-0.1f));
  // The chosen token is there with its own value, and the maximum tells whether it was greedy.
  EXPECT_EQ(logprobs["top_logprobs"][1].size(), 1u);
  EXPECT_EQ(logprobs["top_logprobs"][1][logprobs["tokens"][1].get<std::string>()],
            logprobs["token_logprobs"][1]);
  EXPECT_EQ(logprobs["top_logprobs"][2].size(), 2u);
  EXPECT_EQ(logprobs["top_logprobs"][2][" God"], static_cast<double>(-0.1f));
  EXPECT_EQ(logprobs["token_logprobs"].back(), static_cast<double>(-0.3f));
  EXPECT_EQ(logprobs["text_offset"].back(), 16);
  std::string joined;
  for (const Json& token : logprobs["tokens"]) joined += token.get<std::string>();
  EXPECT_EQ(joined, choice["text"]);
}

TEST_F(Completions, ScoringAloneGeneratesNothing) {
  Attach();
  const auto exchange = Post("/v1/completions", {{"prompt", {5, 6}},
                                                 {"max_tokens", 0},
                                                 {"echo", true},
                                                 {"logprobs", 0},
                                                 {"prompt_logprobs", 1}});
  EXPECT_EQ(taken().max_tokens, 0);
  OutputEvent event = Event(engine.last, -1, FinishReason::kLength);
  event.result.target_logprobs = {-std::numeric_limits<float>::infinity()};
  event.result.target_ranks = {7};
  event.result.top_logprobs = {{9, -0.25f}};
  Emit(std::move(event));
  const Json json = Body(exchange);
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["text"], tokenizer->Decode(std::vector<int32_t>{5, 6}, false));
  EXPECT_EQ(choice["logprobs"]["token_logprobs"], Json::parse("[null, -9999.0]"));
  EXPECT_EQ(json["usage"]["completion_tokens"], 0);
  const Json& prompt = choice["prompt_logprobs"];
  ASSERT_EQ(prompt.size(), 2u);
  EXPECT_EQ(prompt[0], nullptr);
  EXPECT_EQ(prompt[1]["6"]["logprob"], -9999.0);
  EXPECT_EQ(prompt[1]["6"]["rank"], 7);
  EXPECT_EQ(prompt[1]["9"]["rank"], 1);
  EXPECT_EQ(prompt[1]["9"]["logprob"], -0.25);
}

TEST_F(Completions, TokenIdsOnRequest) {
  Attach();
  const auto exchange = Post("/v1/completions", {{"prompt", {5, 6}},
                                                 {"max_tokens", 2},
                                                 {"logprobs", 1},
                                                 {"return_token_ids", true},
                                                 {"return_tokens_as_token_ids", true}});
  OutputEvent event = Event(engine.last, 11);
  event.result.token_top = {{12, -0.25f}};
  Emit(event);
  Emit(Event(engine.last, 0, FinishReason::kStop));
  const Json choice = Body(exchange)["choices"][0];
  EXPECT_EQ(choice["token_ids"], Json::parse("[11, 0]"));
  EXPECT_EQ(choice["prompt_token_ids"], Json::parse("[5, 6]"));
  EXPECT_EQ(choice["logprobs"]["tokens"], Json::parse(R"(["token_id:11", "token_id:0"])"));
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][0],
            Json::parse(R"({"token_id:11": -0.5, "token_id:12": -0.25})"));
  EXPECT_EQ(choice["stop_reason"], nullptr);  // an end token of the model
}

TEST_F(Completions, AStopStringEndsTheRequestInTheEngine) {
  Attach();
  const auto exchange =
      Post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 30}, {"stop", {"there be"}}});
  Say("And God said, Let there be light: and there was light", FinishReason::kNone);
  const Json json = Body(exchange);
  EXPECT_EQ(json["choices"][0]["text"], "And God said, Let ");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(json["choices"][0]["stop_reason"], "there be");
  EXPECT_EQ(engine.cancelled, std::vector<int64_t>{engine.last});
  EXPECT_EQ(front_end->running(), 0u);
}

TEST_F(Completions, AStopStringEndsItsChoiceWhileOthersGoOn) {
  Attach();
  const auto exchange = Post(
      "/v1/completions", {{"prompt", "x"}, {"max_tokens", 30}, {"n", 3}, {"stop", {"there be"}}});
  using Ended = std::vector<std::pair<int64_t, int32_t>>;
  Say("And God said, Let there be light", FinishReason::kNone, 1);
  EXPECT_EQ(engine.cancelled_choices, (Ended{{engine.last, 1}}));
  Say("In the beginning", FinishReason::kLength, 2);
  EXPECT_EQ(engine.cancelled_choices.size(), 1u) << "the engine has ended the other one itself";
  OutputEvent last = Event(engine.last, -1, FinishReason::kAborted, 1);
  Emit(last);  // the engine's answer means nothing any more
  EXPECT_FALSE(exchange->answered);
  Say("Let there be", FinishReason::kNone, 0);
  const Json json = Body(exchange);
  EXPECT_EQ(json["choices"][0]["text"], "Let ");
  EXPECT_EQ(json["choices"][1]["text"], "And God said, Let ");
  EXPECT_EQ(json["choices"][1]["finish_reason"], "stop");
  EXPECT_EQ(json["choices"][2]["finish_reason"], "length");
  EXPECT_EQ(engine.cancelled, std::vector<int64_t>{engine.last}) << "the last one ends it all";
  EXPECT_EQ(front_end->running(), 0u);
}

TEST_F(Completions, ANamedStopTokenIsTheReason) {
  Attach();
  const int32_t stop = Ids(" God")[0];
  const auto exchange =
      Post("/v1/completions", {{"prompt", "x"}, {"max_tokens", 9}, {"stop_token_ids", {stop}}});
  Emit(Event(engine.last, Ids(" the")[0]));
  Emit(Event(engine.last, stop, FinishReason::kStop));
  const Json choice = Body(exchange)["choices"][0];
  EXPECT_EQ(choice["text"], " the");
  EXPECT_EQ(choice["stop_reason"], stop);
}

TEST_F(Completions, StreamsOneEventPerToken) {
  Attach();
  const auto exchange = Post("/v1/completions", {{"prompt", "x"},
                                                 {"max_tokens", 2},
                                                 {"stream", true},
                                                 {"stream_options", {{"include_usage", true}}}});
  EXPECT_FALSE(exchange->streaming) << "nothing is sent before the first token";
  Emit(Event(engine.last, Ids(" the")[0]));
  Emit(Event(engine.last, Ids(" God")[0], FinishReason::kLength));
  EXPECT_EQ(exchange->content_type, "text/event-stream");
  EXPECT_TRUE(exchange->ended);
  EXPECT_EQ(exchange->stream.find('\r'), std::string::npos);
  const std::vector<std::string> events = exchange->events();
  ASSERT_EQ(events.size(), 4u);
  Json first = Json::parse(events[0]);
  first["created"] = 1;
  EXPECT_EQ(first, Json::parse(R"({"id": "cmpl-abc", "object": "text_completion", "created": 1,
    "model": "demo", "choices": [{"index": 0, "text": " the", "logprobs": null,
    "finish_reason": null, "stop_reason": null}], "usage": null})"));
  EXPECT_EQ(Json::parse(events[1])["choices"][0]["finish_reason"], "length");
  const Json usage = Json::parse(events[2]);
  EXPECT_EQ(usage["choices"], Json::array());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 2);
  EXPECT_EQ(events[3], "[DONE]");
}

TEST_F(Completions, StreamsWithEverything) {
  Attach();
  const auto exchange =
      Post("/v1/completions", Json::parse(R"({"prompt": "x", "max_tokens": 2, "stream": true,
        "echo": true, "logprobs": 0, "return_token_ids": true,
        "stream_options": {"include_usage": true, "continuous_usage_stats": true}})"));
  Emit(Event(engine.last, Ids(" the")[0]));
  Emit(Event(engine.last, Ids(" God")[0], FinishReason::kLength));
  const std::vector<std::string> events = exchange->events();
  ASSERT_EQ(events.size(), 4u);
  const Json first = Json::parse(events[0]);
  EXPECT_EQ(first["choices"][0]["text"], "x the");
  EXPECT_EQ(first["choices"][0]["prompt_token_ids"], Json(taken().prompt));
  EXPECT_EQ(first["usage"]["completion_tokens"], 1);
  const Json second = Json::parse(events[1])["choices"][0];
  EXPECT_EQ(second["text"], " God");
  EXPECT_FALSE(second.contains("prompt_token_ids"));
  EXPECT_EQ(second["logprobs"]["tokens"], Json::parse(R"([" God"])"));
  EXPECT_EQ(second["logprobs"]["text_offset"], Json::parse("[5]"));
}

TEST_F(Completions, HalfCharactersAndStopsAreHeldBackInStreams) {
  Attach();
  const auto exchange =
      Post("/v1/completions",
           {{"prompt", "x"}, {"stream", true}, {"stop", "light"}, {"max_tokens", 40}});
  Say("caf\xc3\xa9 \xf0\x9f\x98\x80 lig lighter", FinishReason::kLength);
  std::string text;
  for (const std::string& event : exchange->events()) {
    if (event == "[DONE]") continue;
    const std::string piece = Json::parse(event)["choices"][0]["text"];
    EXPECT_EQ(piece.find("\xef\xbf\xbd"), std::string::npos);
    text += piece;
  }
  EXPECT_EQ(text, "caf\xc3\xa9 \xf0\x9f\x98\x80 lig ");
}

TEST_F(Completions, TheReceiptCountsThePromptOnce) {
  Attach();
  const auto exchange = Post("/v1/completions", {{"prompt", "x"}, {"n", 2}, {"max_tokens", 1}});
  for (int choice = 0; choice < 2; ++choice) {
    OutputEvent event = Event(engine.last, 5, FinishReason::kLength, choice);
    event.cached_tokens = 1;
    event.result.drops = {
        {.layer = 0, .rejected = 5, .overflow = 3, .prompt_rejected = 4, .prompt_overflow = 2},
        {.layer = 1, .rejected = 1, .overflow = 0}};
    Emit(std::move(event));
  }
  const Json usage = Body(exchange)["usage"];
  EXPECT_EQ(usage["moe"], Json::parse(R"({"rejected": 8, "overflow": 4})"));
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 1);
}

TEST_F(Completions, TheModelsNameIsChecked) {
  Attach();
  const auto wrong = Post("/v1/completions", {{"model", "gpt"}, {"prompt", "x"}});
  EXPECT_EQ(wrong->response.status, 404);
  EXPECT_EQ(wrong->json()["error"]["message"], "The model `gpt` does not exist.");
  const auto alias = Post("/v1/completions", {{"model", "alias"}, {"prompt", "x"}});
  EXPECT_FALSE(alias->answered);
}

TEST_F(Completions, TheGateIsTheOperatorsToOpen) {
  model.gate_knobs = {"top_k", "capacity_factor"};
  model.check_gate = [](const std::string& overrides) {
    return overrides.find("top_k=9") == std::string::npos ? absl::OkStatus()
                                                          : InvalidArgument("top_k: too many");
  };
  Attach();
  Post("/v1/completions", {{"prompt", "x"}, {"gate", {{"top_k", 1}, {"capacity_factor", 1.5}}}});
  EXPECT_EQ(taken().gate, "capacity_factor=1.5,top_k=1");
  Post("/v1/completions", {{"prompt", "x"}, {"gate", "top_k=1,capacity_factor=1.5"}});
  EXPECT_EQ(taken().gate, "capacity_factor=1.5,top_k=1");
  for (const Json& bad :
       {Json{{"capacity", "none"}}, Json("capacity=none"), Json("top_k"), Json("top_k=9"),
        Json{{"top_k", "1,capacity=none"}}, Json{{"top_k", Json::array()}}, Json(5)}) {
    const auto answer = Post("/v1/completions", {{"prompt", "x"}, {"gate", bad}});
    EXPECT_EQ(answer->response.status, 400) << bad;
    EXPECT_EQ(answer->json()["error"]["param"], "gate");
  }
}

TEST_F(Completions, StructuredOutputs) {
  std::vector<std::string> asked;
  const auto note = [&](std::string what) -> ServedModelOptions::Constraint {
    asked.push_back(std::move(what));
    if (asked.back() == "regex (") return InvalidArgument("unbalanced");
    struct Anything : TokenConstraint {
      bool FillMask(std::span<uint32_t>) override { return true; }
      void Accept(int32_t) override {}
      std::unique_ptr<TokenConstraint> Clone() const override {
        return std::make_unique<Anything>();
      }
    };
    return std::make_shared<Anything>();
  };
  model.compile_regex = [&](std::string_view regex) { return note("regex " + std::string(regex)); };
  model.compile_schema = [&](const Json& schema) { return note("schema " + schema.dump()); };
  model.compile_json_object = [&] { return note("object"); };
  model.compile_choice = [&](const std::vector<std::string>& choices) {
    return note("choice " + Json(choices).dump());
  };
  Attach();
  const std::pair<const char*, const char*> good[] = {
      {R"("structured_outputs": {"regex": "a+"})", "regex a+"},
      {R"("structured_outputs": {"choice": ["a", "b"], "json": null})", R"(choice ["a","b"])"},
      {R"("structured_outputs": {"json": {"type": "null"}})", R"(schema {"type":"null"})"},
      {R"("structured_outputs": {"json": "{\"type\": \"null\"}"})", R"(schema {"type":"null"})"},
      {R"("structured_outputs": {"json_object": true})", "object"},
      {R"("response_format": {"type": "json_object"})", "object"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}})",
       "schema {}"},
      {R"("guided_regex": "b")", "regex b"},
      {R"("guided_choice": ["x"])", R"(choice ["x"])"},
      {R"("guided_json": {})", "schema {}"},
  };
  for (const auto& [field, expected] : good) {
    const auto answer =
        Send("POST", "/v1/completions", std::string(R"({"prompt": "x", )") + field + "}");
    EXPECT_FALSE(answer->answered) << field << answer->response.body;
    EXPECT_EQ(asked.back(), expected);
    EXPECT_NE(taken().constraint, nullptr);
  }
  const std::pair<const char*, const char*> bad[] = {
      {R"("structured_outputs": {"grammar": "root ::= a"})", "structured_outputs.grammar"},
      {R"("structured_outputs": {"structural_tag": "x"})", "structured_outputs.structural_tag"},
      {R"("structured_outputs": {"regex": "("})", "structured_outputs.regex"},
      {R"("structured_outputs": {"regex": "a", "json_object": true})",
       "structured_outputs.json_object"},
      {R"("structured_outputs": {"choice": []})", "structured_outputs.choice"},
      {R"("response_format": {"type": "xml"})", "response_format"},
      {R"("response_format": {"type": "json_schema"})", "response_format"},
      {R"("guided_grammar": "x")", "guided_grammar"},
  };
  for (const auto& [field, param] : bad) {
    const auto answer =
        Send("POST", "/v1/completions", std::string(R"({"prompt": "x", )") + field + "}");
    ASSERT_EQ(answer->response.status, 400) << field;
    EXPECT_EQ(answer->json()["error"]["param"], param);
  }
}

}  // namespace
}  // namespace folkmoot
