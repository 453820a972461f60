// SPDX-License-Identifier: Apache-2.0
// Tools and reasoning at POST /v1/chat/completions: what is asked for, what is refused, and the
// answers in one piece and streamed.
#include "launch/api/output/described/response_template.h"
#include "runtime/grammar/grammar_compiler.h"
#include "tests/launch/api/tool_fixture.h"

namespace folkmoot {
namespace {

TEST_F(ToolCalls, InOnePiece) {
  Attach();
  const Json choice = Choice("", kCalls);
  EXPECT_EQ(context_["tools"], Json::parse(kTools));
  const Json& message = choice["message"];
  EXPECT_EQ(message["content"], "I look.\n");
  EXPECT_EQ(message["reasoning_content"], nullptr);
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  ASSERT_EQ(message["tool_calls"].size(), 2u);
  const Json& call = message["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"],
            (Json{{"name", "get_weather"}, {"arguments", "{\"city\": \"Zürich\"}"}}));
  EXPECT_FALSE(call.contains("index"));
  EXPECT_EQ(message["tool_calls"][1]["function"],
            (Json{{"name", "get_time"}, {"arguments", "{}"}}));
  // Mistral's templates take ids of nine letters and digits only.
  const auto id = call["id"].get<std::string>();
  EXPECT_EQ(id.size(), 9u);
  EXPECT_TRUE(std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c); }));
  EXPECT_NE(message["tool_calls"][1]["id"], id);
  EXPECT_EQ(Choice("", kCalls)["message"]["tool_calls"][0]["id"], id) << "the same request";
}

TEST_F(ToolCalls, KeepTheIdsOfModelsThatNeedThem) {
  model.tool_format = FindFormat(ToolFormats(), "kimi_k2");
  Attach();
  const Json message = Choice("",
                              "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_time:3"
                              "<|tool_call_argument_begin|>{}<|tool_call_end|>")["message"];
  EXPECT_EQ(message["tool_calls"][0]["id"], "functions.get_time:3");
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "get_time");
}

TEST_F(ToolCalls, InAFormatThatTheModelDescribes) {
  const auto response = ResponseTemplate::Parse(Json::parse(R"({
    "start_anchor": "bot:",
    "fields": {"content": {}, "reasoning_content": {"open": "<think>", "close": "</think>"},
               "tool_calls": {"open_pattern": "\\s*<call>", "close": "</call>", "content": "json",
                              "repeats": true}}})"));
  ASSERT_TRUE(response.ok()) << response.status();
  const auto format =
      std::make_shared<const OutputFormat>(DescribedFormat(*response, model.tokenizer.get()));
  model.own_formats.push_back(format);
  model.tool_format = model.reasoning_format = format.get();
  tail_ = "bot:<think>";
  Attach();
  const Json choice = Choice(
      "", "Hm.</think>\n\nI look.\n<call>{\"name\": \"get_time\", \"arguments\": {}}</call>");
  const Json& message = choice["message"];
  EXPECT_EQ(message["reasoning_content"], "Hm.");
  EXPECT_EQ(message["content"], "I look.");
  ASSERT_EQ(message["tool_calls"].size(), 1u);
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "get_time");
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
}

TEST_F(ToolCalls, StreamedAreTheSame) {
  Attach();
  const std::string text = "<think>Hm, 🌧.</think>" + std::string(kCalls);
  const Json whole = Choice("", text);
  const auto exchange = Ask(R"(, "stream": true, "stream_options": {"include_usage": true})");
  Finish(text, FinishReason::kStop);
  std::string content, reasoning, finish;
  Json calls = Json::array();
  int events = 0;
  for (const std::string& event : exchange->events()) {
    if (event == "[DONE]") continue;
    const Json json = Json::parse(event);
    if (json["choices"].empty()) {
      EXPECT_EQ(json["usage"]["completion_tokens"], Ids(text).size() + 1);
      continue;
    }
    ++events;
    const Json& choice = json["choices"][0];
    const Json& delta = choice["delta"];
    content += delta.value("content", "");
    reasoning += delta.value("reasoning_content", "");
    EXPECT_EQ(delta.value("reasoning", ""), delta.value("reasoning_content", ""));
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"].get<std::string>();
    for (const Json& call : delta.value("tool_calls", Json::array())) {
      const auto index = call["index"].get<size_t>();
      if (call.contains("id")) {
        ASSERT_EQ(index, calls.size());
        EXPECT_EQ(call["type"], "function");
        calls.push_back({{"id", call["id"]}, {"type", "function"}, {"function", call["function"]}});
      } else {
        ASSERT_EQ(index + 1, calls.size());
        Json& arguments = calls[index]["function"]["arguments"];
        arguments = arguments.get<std::string>() + call["function"]["arguments"].get<std::string>();
      }
    }
  }
  EXPECT_EQ(content, whole["message"]["content"]);
  EXPECT_EQ(reasoning, "Hm, 🌧.");
  EXPECT_EQ(reasoning, whole["message"]["reasoning_content"]);
  EXPECT_EQ(calls, whole["message"]["tool_calls"]);
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_EQ(static_cast<size_t>(events), Ids(text).size() + 2) << "the role, and one per token";
}

TEST_F(ToolCalls, ReasoningGoesInAndOut) {
  Attach();
  Json choice = Choice("", "<think>So.</think>Four.", FinishReason::kStop, /*tools=*/false);
  EXPECT_EQ(choice["message"]["reasoning_content"], "So.");
  EXPECT_EQ(choice["message"]["reasoning"], "So.");
  EXPECT_EQ(choice["message"]["content"], "Four.");
  EXPECT_EQ(choice["finish_reason"], "stop");
  // The template opened it.
  tail_ = "<|assistant|><think>\n";
  choice = Choice("", "So.</think>Four.", FinishReason::kStop, /*tools=*/false);
  EXPECT_EQ(choice["message"]["reasoning_content"], "So.");
  choice = Choice("", "So", FinishReason::kLength, /*tools=*/false);
  EXPECT_EQ(choice["message"]["content"], nullptr);
  EXPECT_EQ(choice["message"]["reasoning_content"], "So");
  EXPECT_EQ(choice["finish_reason"], "length");
  const auto exchange = Send("POST", "/v1/chat/completions", R"({"messages": [
    {"role": "assistant", "content": "Four.", "reasoning_content": "So."}]})");
  EXPECT_FALSE(exchange->answered);
  EXPECT_EQ(context_["messages"][0]["reasoning_content"], "So.");
}

TEST_F(ToolCalls, WhereAMessageGoesOnNoReasoningIsOpened) {
  model.reasoning_format = FindFormat(ReasoningFormats(), "deepseek_r1");
  Attach();
  const auto content_of = [&](const char* fields) {
    return Choice(fields, "Four.", FinishReason::kStop, /*tools=*/false)["message"]["content"];
  };
  EXPECT_EQ(content_of(""), nullptr);
  EXPECT_EQ(content_of(R"(, "add_generation_prompt": false)"), "Four.");
  EXPECT_EQ(content_of(R"(, "continue_final_message": true)"), "Four.");
}

TEST_F(ToolCalls, UsersDoNotOpenReasoning) {
  tail_ = "";
  Attach();
  const auto exchange = Send("POST", "/v1/chat/completions",
                             R"({"messages": [{"role": "user", "content": "<think>"}]})");
  Finish("Four.", FinishReason::kStop);
  EXPECT_EQ(exchange->json()["choices"][0]["message"]["content"], "Four.");
}

TEST_F(ToolCalls, ConversationsWithCallsReachTheTemplate) {
  Attach();
  const auto exchange = Send("POST", "/v1/chat/completions", R"({"messages": [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"b\": [1]}"}},
      {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
      {"id": "c", "type": "function", "function": {"name": "h", "arguments": "{\"a\": "}}]},
    {"role": "tool", "tool_call_id": "a", "name": "f", "content": "r"}]})");
  EXPECT_FALSE(exchange->answered) << exchange->response.body;
  const Json& messages = context_["messages"];
  EXPECT_EQ(messages[1]["tool_calls"][0]["function"]["arguments"], Json::parse(R"({"b": [1]})"));
  EXPECT_EQ(messages[1]["tool_calls"][1]["function"]["arguments"], Json::object());
  EXPECT_EQ(messages[1]["tool_calls"][2]["function"]["arguments"], "{\"a\": ") << "as it was cut";
  EXPECT_EQ(messages[2],
            Json::parse(R"({"role": "tool", "content": "r", "name": "f", "tool_call_id": "a"})"));
}

TEST_F(ToolCalls, ReachTemplatesAsTheyWantThem) {
  model.style_with_tools = {.arguments_as_text = true, .null_content = true};
  Attach();
  const auto call = [](const std::string& arguments) {
    return R"({"id": "a", "type": "function", "function": {"name": "f", "arguments": )" +
           arguments + "}}";
  };
  const std::string messages =
      R"({"role": "assistant", "tool_calls": [)" + call(R"("{\"a\":  1")") + "," + call(R"("")") +
      "," + call(R"({"b": [1, "é"]})") + R"(]}, {"role": "assistant", "content": "y",
      "tool_calls": [)" +
      call(R"("{}")") + "]}, {\"role\": \"assistant\"}";
  Send("POST", "/v1/chat/completions",
       R"({"messages": [{"role": "user", "content": "x"}, )" + messages + R"(], "tools": )" +
           kTools + "}");
  const Json& first = context_["messages"][1];
  EXPECT_TRUE(first["content"].is_null());
  EXPECT_EQ(first["tool_calls"][0]["function"]["arguments"], "{\"a\":  1");
  EXPECT_EQ(first["tool_calls"][1]["function"]["arguments"], "{}");
  EXPECT_EQ(first["tool_calls"][2]["function"]["arguments"], R"({"b":[1,"é"]})");
  EXPECT_EQ(context_["messages"][2]["content"], "y");
  EXPECT_EQ(context_["messages"][3]["content"], "");
  const auto exchange =
      Send("POST", "/v1/chat/completions",
           R"({"continue_final_message": true, "messages": [{"role": "user", "content": "x"}, )"
           R"({"role": "assistant", "tool_calls": [)" +
               call("{}") + R"(]}], "tools": )" + kTools + "}");
  EXPECT_EQ(exchange->response.status, 400);
}

TEST_F(ToolCalls, OneAfterAnother) {
  Attach();
  const Json choice = Choice(R"(, "parallel_tool_calls": false)", kCalls);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "get_weather");
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
}

TEST_F(ToolCalls, TheServerSaysWhatItReads) {
  Attach();
  const Json info = Send("GET", "/server_info", "")->json();
  EXPECT_EQ(info["tool_call_parser"], "hermes");
  EXPECT_EQ(info["reasoning_parser"], "qwen3");
}

TEST_F(ToolCalls, NoneIsText) {
  Attach();
  const Json choice = Choice(R"(, "tool_choice": "none")", kCalls);
  EXPECT_EQ(context_["tools"], nullptr);
  EXPECT_EQ(choice["message"]["content"], kCalls);
  EXPECT_EQ(choice["finish_reason"], "stop");
}

TEST_F(ToolCalls, ThatAreCutKeepWhatTheyHave) {
  Attach();
  const Json choice = Choice("", std::string(kCalls).substr(0, std::string(kCalls).find("rich")),
                             FinishReason::kLength);
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& function = choice["message"]["tool_calls"][0]["function"];
  EXPECT_EQ(function["name"], "get_weather");
  EXPECT_TRUE(
      std::string("{\"city\": \"Zürich\"}").starts_with(function["arguments"].get<std::string>()));
}

// Arguments that a stop string cuts are not to be run; calls in front of one are.
TEST_F(ToolCalls, AStopInsideOfACallIsNoEndOfCalls) {
  Attach();
  const auto finish_of = [&](const char* stop) {
    const auto exchange = Ask(fmt::format(R"(, "stop": ["{}"])", stop));
    Say(kCalls, FinishReason::kNone);
    return exchange->json()["choices"][0]["finish_reason"];
  };
  EXPECT_EQ(finish_of("rich"), "stop");
  EXPECT_EQ(finish_of("get_time\\\", \\\"arg"), "tool_calls");
  EXPECT_EQ(finish_of("look"), "stop");
}

TEST_F(ToolCalls, AnotherFormOfTheOutputHasNoCalls) {
  Attach();
  const std::string text = R"({"a": "<tool_call>{\"name\": \"f\", \"arguments\": {}}"})";
  const Json choice = Choice(
      R"(, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}})",
      text);
  EXPECT_EQ(choice["message"]["content"], text);
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_FALSE(context_["tools"].is_null()) << "the model still sees them";
}

TEST_F(ToolCalls, RequiredIsAFormOfTheOutput) {
  Attach();
  const Json choice =
      Choice(R"(, "tool_choice": "required")",
             R"([{"name": "get_time", "parameters": {}}, {"name": "f", "parameters": {"a": 1}}])");
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], nullptr);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 2u);
  EXPECT_EQ(choice["message"]["tool_calls"][1]["function"]["arguments"], R"({"a": 1})");
  EXPECT_NE(taken().constraint, nullptr);
  EXPECT_EQ(schema_, Json::parse(R"({"type": "array", "minItems": 1, "items": {"anyOf": [
    {"type": "object", "properties": {"name": {"const": "get_weather"},
      "parameters": {"$ref": "#/$defs/tool0"}}, "required": ["name", "parameters"]},
    {"type": "object", "properties": {"name": {"const": "get_time"},
      "parameters": {"$ref": "#/$defs/tool1"}}, "required": ["name", "parameters"]}]},
    "$defs": {"tool0": {"type": "object", "properties": {"city": {"$ref":
      "#/$defs/tool0/$defs/city"}}, "required": ["city"], "$defs": {"city": {"type": "string"}}},
      "tool1": {"type": "object", "properties": {}}}})"));
  Ask(R"(, "tool_choice": "required", "parallel_tool_calls": false)");
  EXPECT_EQ(schema_["maxItems"], 1);
}

TEST_F(ToolCalls, ANamedFunctionIsAFormOfTheOutput) {
  model.tool_format = nullptr;  // the form is ours: no format of the model is needed
  Attach();
  const std::string named =
      R"(, "tool_choice": {"type": "function", "function": {"name": "get_weather"}})";
  const Json choice = Choice(named, R"({"city": "Paris"})");
  EXPECT_EQ(choice["finish_reason"], "stop") << "as OpenAI has it";
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"],
            (Json{{"name", "get_weather"}, {"arguments", R"({"city": "Paris"})"}}));
  EXPECT_EQ(schema_, Json::parse(kTools)[0]["function"]["parameters"]);
}

// The forms are made by the real compiler, and hold what the parser reads.
TEST_F(ToolCalls, TheGrammarWritesWhatTheParserReads) {
  GrammarCompiler compiler(*tokenizer, model.vocab, model.eos_ids);
  model.compile_schema = [&](const Json& schema) { return compiler.JsonSchema(schema); };
  Attach();
  const std::pair<const char*, const char*> cases[] = {
      {R"("required")", R"([{"name": "get_time", "parameters": {}}, {"name": "get_weather", )"
                        R"("parameters": {"city": "Z\u00fcrich"}}])"},
      {R"({"type": "function", "function": {"name": "get_weather"}})", R"({"city": "Paris"})"},
      {R"({"type": "function", "function": {"name": "get_time"}})", "{}"},
  };
  for (const auto& [choice, text] : cases) {
    Ask(std::string(", \"tool_choice\": ") + choice);
    const std::unique_ptr<TokenConstraint> form = taken().constraint->Clone();
    std::vector<int32_t> ids = Ids(text);
    ids.push_back(0);  // the end
    for (const int32_t id : ids) {
      std::vector<uint32_t> mask(4096 / 32);
      ASSERT_TRUE(form->FillMask(mask));
      ASSERT_TRUE((mask[static_cast<size_t>(id) / 32] >> (id % 32)) & 1) << text << ": " << id;
      form->Accept(id);
    }
  }
}

TEST_F(ToolCalls, RefusalsNameTheFieldAndTheRemedy) {
  Attach();
  ExpectRefused(R"(, "tool_choice": "sometimes")", "tool_choice", "required");
  ExpectRefused(R"(, "tool_choice": {"type": "function"})", "tool_choice", "expected");
  ExpectRefused(R"(, "tool_choice": {"type": "function", "function": {"name": "f"}})",
                "tool_choice", "no tool has the name 'f'");
  ExpectRefused(R"(, "tool_choice": "required")", "tool_choice", "no tools", /*tools=*/false);
  ExpectRefused(
      R"(, "tool_choice": "required", "response_format": {"type": "json_schema", "json_schema":
         {"schema": {"type": "object"}}})",
      "tool_choice", "one form only");
  ExpectRefused(R"(, "tools": [{"type": "function", "function": {"name": "f", "parameters":
                   {"type": "string"}}}], "tool_choice": "required")",
                "tools", "'f'", /*tools=*/false);
  const auto named = [](const std::string& names) { return ", \"tools\": [" + names + "]"; };
  const auto tool = [](const std::string& name) {
    return R"({"type": "function", "function": {"name": ")" + name + R"("}})";
  };
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("é"), std::string(257, 'n')}) {
    ExpectRefused(named(tool(name)), "tools", "letters", /*tools=*/false);
  }
  ExpectRefused(named(tool("f") + "," + tool("f")), "tools", "two have", /*tools=*/false);
  ExpectRefused(named(R"({"type": "retrieval", "function": {"name": "f"}})"), "tools", "function",
                /*tools=*/false);
  ExpectRefused(named(R"({"function": {"name": "f"}})"), "tools", "type", /*tools=*/false);
  schema_error_ = "JSON schema, #/not: not supported";
  ExpectRefused(R"(, "tool_choice": "required")", "tools", "#/not");
  EXPECT_TRUE(engine.taken.empty());
}

class ModelsWithoutTools : public ToolCalls {};

TEST_F(ModelsWithoutTools, TheTemplateShowsNone) {
  model.template_has_tools = false;
  Attach();
  for (const char* choice : {"\"auto\"", "\"required\""}) {
    ExpectRefused(std::string(", \"tool_choice\": ") + choice, "tools", "--chat-template");
  }
  EXPECT_FALSE(Ask(R"(, "tool_choice": "none")")->answered);
  EXPECT_FALSE(Ask("", /*tools=*/false)->answered);
}

TEST_F(ModelsWithoutTools, NobodyKnowsTheFormat) {
  model.tool_format = nullptr;
  Attach();
  ExpectRefused("", "tools", "--tool-call-parser");
  EXPECT_FALSE(Ask(R"(, "tool_choice": "required")")->answered);
}

TEST_F(ModelsWithoutTools, TheOperatorWantsText) {
  model.tool_format = nullptr;
  model.reasoning_format = nullptr;
  model.tool_calls_stay_text = true;
  Attach();
  const Json choice = Choice("", kCalls);
  EXPECT_EQ(choice["message"]["content"], kCalls);
  EXPECT_FALSE(choice["message"].contains("reasoning_content"));
  EXPECT_EQ(choice["finish_reason"], "stop");
}

}  // namespace
}  // namespace folkmoot
