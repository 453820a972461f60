// SPDX-License-Identifier: Apache-2.0
// A model that reasons and calls tools in Hermes' format.
#pragma once

#include <memory>
#include <string>

#include "launch/api/output/formats.h"
#include "tests/launch/api/api_fixture.h"

namespace folkmoot {

inline constexpr char kTools[] = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}}, "required": ["city"],
    "$defs": {"city": {"type": "string"}}}}},
  {"type": "function", "function": {"name": "get_time"}}])";
inline constexpr char kCalls[] =
    "I look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Zürich\"}}\n"
    "</tool_call>\n<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>";

class AnyText : public TokenConstraint {
 public:
  bool FillMask(std::span<uint32_t> /*mask*/) override { return true; }
  void Accept(int32_t /*token*/) override {}
  std::unique_ptr<TokenConstraint> Clone() const override { return std::make_unique<AnyText>(); }
};

class ToolCalls : public ApiTest {
 protected:
  ToolCalls() {
    model.context = 4096;
    model.template_has_tools = true;
    model.tool_format = FindFormat(ToolFormats(), "hermes");
    model.reasoning_format = FindFormat(ReasoningFormats(), "qwen3");
    model.render_chat = [this](const Json& context) -> absl::StatusOr<RenderedChat> {
      context_ = context;
      RenderedChat chat{.text = context["messages"][0]["content"].get<std::string>(),
                        .trusted = {}};
      chat.trusted.emplace_back(chat.text.size(), chat.text.size() + tail_.size());
      chat.text += tail_;
      return chat;
    };
    model.compile_schema = [this](const Json& schema) -> ServedModelOptions::Constraint {
      schema_ = schema;
      if (!schema_error_.empty()) return InvalidArgument("{}", schema_error_);
      return std::make_shared<const AnyText>();
    };
  }

  std::shared_ptr<FakeExchange> Ask(const std::string& fields, bool tools = true) {
    std::string body = R"({"messages": [{"role": "user", "content": "x"}])";
    if (tools) body += std::string(", \"tools\": ") + kTools;
    return Send("POST", "/v1/chat/completions", body + fields + "}");
  }
  Json Choice(const std::string& fields, const std::string& text,
              FinishReason finish = FinishReason::kStop, bool tools = true) {
    const auto exchange = Ask(fields, tools);
    EXPECT_FALSE(exchange->answered) << exchange->response.body;
    Finish(text, finish);
    return exchange->json()["choices"][0];
  }
  // The text, and then the end: by the model's end token, or with the last token of the text.
  void Finish(const std::string& text, FinishReason finish) {
    Say(text, finish == FinishReason::kStop ? FinishReason::kNone : finish);
    if (finish == FinishReason::kStop) Emit(Event(engine.last, 0, finish));
  }
  void ExpectRefused(const std::string& fields, const std::string& param, const std::string& word,
                     bool tools = true) {
    const auto exchange = Ask(fields, tools);
    ASSERT_TRUE(exchange->answered) << fields;
    EXPECT_EQ(exchange->response.status, 400);
    const Json error = exchange->json()["error"];
    EXPECT_EQ(error["param"], param) << error;
    EXPECT_NE(error["message"].get<std::string>().find(word), std::string::npos) << error;
  }

  std::string tail_ = "<|assistant|>\n";
  Json context_, schema_;
  std::string schema_error_;
};

}  // namespace folkmoot
