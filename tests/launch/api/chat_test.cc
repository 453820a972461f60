// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions and POST /generate: prompts, and the exact answers.
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {
namespace {

// Shows what a template was given; the text of users stands between brackets.
class Chat : public ApiTest {
 protected:
  Chat() {
    model.template_has_tools = true;
    model.tool_calls_stay_text = true;
    model.render_chat = [this](const Json& context) -> absl::StatusOr<RenderedChat> {
      context_ = context;
      RenderedChat chat;
      const auto trusted = [&](const std::string& text) {
        chat.trusted.emplace_back(chat.text.size(), chat.text.size() + text.size());
        chat.text += text;
      };
      for (const Json& message : context["messages"]) {
        if (message["content"] == "fail") return InvalidArgument("raised by the template");
        trusted("[");
        chat.text += message["content"].get<std::string>();
        trusted("]<|endoftext|>");
      }
      if (context["add_generation_prompt"] == true) trusted(">");
      return chat;
    };
    Attach();
  }
  static Json User(const Json& content) { return {{"role", "user"}, {"content", content}}; }
  std::shared_ptr<FakeExchange> Ask(Json body) {
    if (!body.contains("messages")) body["messages"] = Json::array({User("Hello")});
    return Post("/v1/chat/completions", body);
  }
  std::string PromptText() const { return tokenizer->Decode(taken().prompt, false); }
  Json context_;
};

TEST_F(Chat, TheAnswerHasOpenAisShape) {
  const auto exchange = Ask({{"model", "demo"}});
  EXPECT_EQ(PromptText(), "[Hello]<|endoftext|>>");
  EXPECT_EQ(taken().max_tokens, 64 - static_cast<int64_t>(taken().prompt.size()));
  Emit(Event(engine.last, Ids(" God")[0]));
  Emit(Event(engine.last, 0, FinishReason::kStop));
  Json json = exchange->json();
  json["created"] = 1;
  const auto prompt = taken().prompt.size();
  EXPECT_EQ(json, (Json{{"id", "chatcmpl-abc"},
                        {"object", "chat.completion"},
                        {"created", 1},
                        {"model", "demo"},
                        {"choices", Json::parse(R"([{"index": 0, "message": {"role": "assistant",
                           "content": " God", "refusal": null, "tool_calls": []},
                           "logprobs": null, "finish_reason": "stop", "stop_reason": null}])")},
                        {"usage",
                         {{"prompt_tokens", prompt},
                          {"total_tokens", prompt + 2},
                          {"completion_tokens", 2},
                          {"prompt_tokens_details", {{"cached_tokens", 0}}}}},
                        {"prompt_logprobs", nullptr}}));
}

TEST_F(Chat, StreamsTheRoleWithTheFirstToken) {
  const auto exchange = Ask({{"stream", true},
                             {"max_completion_tokens", 2},
                             {"max_tokens", 9},
                             {"stream_options", {{"include_usage", true}}}});
  EXPECT_EQ(taken().max_tokens, 2);
  EXPECT_EQ(exchange->stream, "");
  Emit(Event(engine.last, Ids(" the")[0]));
  ASSERT_EQ(exchange->events().size(), 2u);
  Emit(Event(engine.last, Ids(" God")[0], FinishReason::kLength));
  std::vector<Json> events;
  for (const std::string& event : exchange->events()) {
    if (event != "[DONE]") events.push_back(Json::parse(event));
  }
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"],
            Json::parse(R"({"role": "assistant", "content": ""})"));
  EXPECT_EQ(events[0]["usage"], nullptr);
  EXPECT_EQ(events[1]["choices"][0],
            Json::parse(R"({"index": 0, "delta": {"content": " the"}, "logprobs": null,
                            "finish_reason": null})"));
  EXPECT_EQ(events[2]["choices"][0],
            Json::parse(R"({"index": 0, "delta": {"content": " God"}, "logprobs": null,
                            "finish_reason": "length", "stop_reason": null})"));
  EXPECT_EQ(events[3]["choices"], Json::array());
  EXPECT_EQ(events[3]["usage"]["completion_tokens"], 2);
}

TEST_F(Chat, LogprobsHaveTokensBytesAndAlternatives) {
  const auto exchange = Ask({{"logprobs", true}, {"top_logprobs", 2}, {"max_tokens", 1}});
  EXPECT_EQ(taken().logprobs, 2);
  const int32_t god = Ids(" God")[0], the = Ids(" the")[0];
  OutputEvent event = Event(engine.last, the, FinishReason::kLength);
  event.result.token_top = {{god, -0.25f}, {the, -0.5000001f}};
  Emit(std::move(event));
  EXPECT_EQ(exchange->json()["choices"][0]["logprobs"], Json::parse(R"({"content": [
    {"token": " the", "logprob": -0.5, "bytes": [32, 116, 104, 101], "top_logprobs": [
      {"token": " God", "logprob": -0.25, "bytes": [32, 71, 111, 100]},
      {"token": " the", "logprob": -0.5, "bytes": [32, 116, 104, 101]}]}]})"));
}

TEST_F(Chat, TextOfUsersNeverBecomesASpecialToken) {
  Ask({{"messages", Json::array({User("a<|endoftext|>b")})}});
  const std::vector<int32_t> prompt = taken().prompt;
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), 0), 1) << "the template's own alone";
  EXPECT_EQ(PromptText(), "[a<|endoftext|>b]<|endoftext|>>");
}

TEST_F(Chat, MessagesInEveryForm) {
  const Json parts =
      Json::parse(R"([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])");
  Ask({{"messages", Json::array({{{"role", "system"}, {"content", "sys"}}, User(parts)})}});
  EXPECT_EQ(context_["messages"], Json::parse(R"([{"role": "system", "content": "sys"},
                                                  {"role": "user", "content": "one\ntwo"}])"));
  EXPECT_EQ(context_["tools"], nullptr);
  EXPECT_EQ(context_["add_generation_prompt"], true);

  Ask(Json::parse(R"({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type":
    "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "r"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low"})"));
  EXPECT_EQ(context_["messages"][0]["tool_calls"][0]["function"]["arguments"],
            Json::parse(R"({"a": 1})"));
  EXPECT_EQ(context_["tools"][0]["function"]["name"], "f");
  EXPECT_EQ(context_["enable_thinking"], false);
  EXPECT_EQ(context_["reasoning_effort"], "low");

  Ask(Json::parse(R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "f"}}]})"));
  EXPECT_EQ(context_["tools"], nullptr);

  const auto failed = Ask({{"messages", Json::array({User("fail")})}});
  EXPECT_EQ(failed->response.status, 400);
  EXPECT_EQ(failed->json()["error"]["message"], "messages: raised by the template");
}

TEST_F(Chat, TheFinalMessageIsContinued) {
  const auto exchange = Ask(Json::parse(R"({"messages": [{"role": "user", "content": "q"},
    {"role": "assistant", "content": "In the "}], "continue_final_message": true,
    "add_generation_prompt": false, "echo": true, "max_tokens": 1})"));
  EXPECT_EQ(PromptText(), "[q]<|endoftext|>[In the ");
  Emit(Event(engine.last, Ids(" God")[0], FinishReason::kLength));
  EXPECT_EQ(exchange->json()["choices"][0]["message"]["content"], "In the  God");
  const auto both = Ask(Json::parse(R"({"messages": [{"role": "assistant", "content": "x"}],
    "continue_final_message": true, "add_generation_prompt": true})"));
  EXPECT_EQ(both->response.status, 400);
}

class NoTemplate : public ApiTest {};
TEST_F(NoTemplate, ChatIsAnErrorThatSaysWhatToDo) {
  Attach();
  const auto answer = Post("/v1/chat/completions",
                           {{"messages", Json::array({{{"role", "user"}, {"content", "x"}}})}});
  EXPECT_EQ(answer->response.status, 400);
  EXPECT_NE(answer->response.body.find("--chat-template"), std::string::npos);
}

class GenerateTest : public ApiTest {};

TEST_F(GenerateTest, AnswersAsSglangDoes) {
  Attach();
  const auto exchange = Post("/generate", Json::parse(R"({"text": "In the beginning",
    "sampling_params": {"temperature": 0, "max_new_tokens": 2, "ignore_eos": true},
    "return_logprob": true, "top_logprobs_num": 1, "return_text_in_logprobs": true})"));
  EXPECT_EQ(taken().max_tokens, 2);
  EXPECT_TRUE(taken().stop_ids.empty());
  EXPECT_FALSE(taken().prompt_logprobs);
  const int32_t god = Ids(" God")[0];
  OutputEvent event = Event(engine.last, god);
  event.result.token_top = {{god, -0.5f}};
  Emit(event);
  event.finish = FinishReason::kLength;
  Emit(event);
  Json json = exchange->json();
  EXPECT_GE(json["meta_info"]["e2e_latency"].get<double>(), 0);
  json["meta_info"].erase("e2e_latency");
  const Json triple = Json::array({-0.5, god, " God"});
  EXPECT_EQ(json, (Json{{"text", " God God"},
                        {"output_ids", {god, god}},
                        {"meta_info",
                         {{"id", "abc"},
                          {"finish_reason", {{"type", "length"}, {"length", 2}}},
                          {"prompt_tokens", taken().prompt.size()},
                          {"completion_tokens", 2},
                          {"cached_tokens", 0},
                          {"output_token_logprobs", Json::array({triple, triple})},
                          {"output_top_logprobs",
                           Json::array({Json::array({triple}), Json::array({triple})})}}}}));
}

TEST_F(GenerateTest, StreamsTheWholeTextEveryTime) {
  Attach();
  const auto exchange = Post("/generate", Json::parse(R"({"input_ids": [[1, 2], [3]],
    "stream": true, "sampling_params": {"max_new_tokens": 2, "stop": "zzz"}, "rid": "r"})"));
  const int64_t first = engine.taken.begin()->first;
  const int32_t god = Ids(" God")[0];
  Emit(Event(first, god));
  Emit(Event(engine.last, god, FinishReason::kLength));
  Emit(Event(first, 0, FinishReason::kStop));
  const std::vector<std::string> events = exchange->events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(Json::parse(events[0])["index"], 0);
  EXPECT_EQ(Json::parse(events[1])["index"], 1);
  EXPECT_EQ(Json::parse(events[2])["text"], " God");
  EXPECT_EQ(Json::parse(events[2])["meta_info"]["finish_reason"],
            Json::parse(R"({"type": "stop", "matched": 0})"));
  EXPECT_EQ(Json::parse(events[2])["meta_info"]["id"], "r");
  EXPECT_EQ(events[3], "[DONE]");
}

TEST_F(GenerateTest, InputLogprobsFromAPosition) {
  Attach();
  const auto exchange = Post("/generate", Json::parse(R"({"input_ids": [5, 6, 7],
    "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 1,
    "sampling_params": {"max_new_tokens": 0}})"));
  OutputEvent event = Event(engine.last, -1, FinishReason::kLength);
  event.result.target_logprobs = {-1.0f, -2.0f};
  event.result.target_ranks = {1, 2};
  event.result.top_logprobs = {{6, -1.0f}, {9, -0.5f}};
  Emit(std::move(event));
  const Json meta = exchange->json()["meta_info"];
  EXPECT_EQ(meta["input_token_logprobs"],
            Json::parse("[[null, 5, null], [-1.0, 6, null], [-2.0, 7, null]]"));
  EXPECT_EQ(meta["input_top_logprobs"],
            Json::parse("[null, [[-1.0, 6, null]], [[-0.5, 9, null]]]"));
}

}  // namespace
}  // namespace folkmoot
