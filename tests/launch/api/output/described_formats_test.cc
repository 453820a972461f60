// SPDX-License-Identifier: Apache-2.0
// Formats that models describe themselves, against what Transformers reads in the same answers
// (tests/data/response_templates.json, written by tools/make_response_goldens.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>

#include "launch/api/output/described/response_template.h"
#include "launch/api/output/formats.h"
#include "nlohmann/json.hpp"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

struct Heard {
  std::string content, reasoning;
  std::vector<std::pair<std::string, std::string>> calls;
  bool operator==(const Heard&) const = default;
};

void Add(const OutputDeltas& deltas, Heard* message) {
  for (const OutputDelta& delta : deltas.list()) {
    switch (delta.kind) {
      case OutputDelta::Kind::kContent:
        message->content += delta.text;
        break;
      case OutputDelta::Kind::kReasoning:
        message->reasoning += delta.text;
        break;
      case OutputDelta::Kind::kToolName:
        EXPECT_EQ(static_cast<size_t>(delta.tool), message->calls.size());
        message->calls.emplace_back(delta.text, "");
        break;
      case OutputDelta::Kind::kToolArguments:
        message->calls.back().second += delta.text;
    }
  }
}

Heard Read(const OutputRules& rules, const std::vector<std::string_view>& pieces) {
  const std::unique_ptr<OutputParser> parser = MakeOutputParser(rules);
  Heard message;
  for (const std::string_view piece : pieces) {
    OutputDeltas deltas;
    parser->Push(piece, &deltas);
    for (const OutputDelta& delta : deltas.list()) EXPECT_EQ(RepairUtf8(delta.text), delta.text);
    Add(deltas, &message);
  }
  OutputDeltas deltas;
  parser->Finish(&deltas);
  Add(deltas, &message);
  return message;
}

// In pieces of 1, 2, ... characters; at_most: of so many at random.
std::vector<std::string_view> Cut(std::string_view text, std::mt19937* random, unsigned at_most) {
  std::vector<std::string_view> pieces;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    for (unsigned n = 0; n < 1 + (*random)() % at_most && end < text.size(); ++n) {
      end += ReadUtf8(text, end).length;
    }
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return pieces;
}

class DescribedFormats : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(FOLKMOOT_TEST_DATA "/response_templates.json");
    data_ = Json::parse(file);
    for (const auto& [name, json] : data_["templates"].items()) {
      auto response = ResponseTemplate::Parse(json);
      ASSERT_TRUE(response.ok()) << Text(response.status());
      formats_.emplace(name, DescribedFormat(*std::move(response), nullptr));
    }
    schemas_ = std::make_shared<const ToolSchemas>(data_["tools"]);
  }
  static std::string Text(const absl::Status& status) { return std::string(Message(status)); }

  OutputRules RulesOf(const std::string& name, const std::string& prompt) const {
    const OutputFormat& format = formats_.at(name);
    OutputRules rules;
    rules.tools = rules.reasoning = &format;
    rules.choice = ToolChoice::kAuto;
    rules.schemas = schemas_;
    rules.answer_begun = format.response->Begun(prompt);
    return rules;
  }

  Json data_;
  std::map<std::string, OutputFormat> formats_;
  std::shared_ptr<const ToolSchemas> schemas_;
};

TEST_F(DescribedFormats, ReadAnswersAsTransformersDoes) {
  int compared = 0;
  for (const Json& answer : data_["answers"]) {
    if (answer[3].is_null()) continue;
    const Heard message = Read(RulesOf(answer[0], answer[1]), {answer[2].get<std::string>()});
    EXPECT_EQ(message.content, answer[3]["content"]) << answer;
    EXPECT_EQ(message.reasoning, answer[3]["reasoning"]) << answer;
    Json calls = Json::array();
    for (const auto& [name, arguments] : message.calls) {
      calls.push_back({name, Json::parse(arguments)});
    }
    EXPECT_EQ(calls, answer[3]["calls"]) << answer;
    ++compared;
  }
  EXPECT_GT(compared, 150);
}

TEST_F(DescribedFormats, AreReadTheSameInWhateverPieces) {
  std::mt19937 random(3);
  for (const Json& answer : data_["answers"]) {
    const OutputRules rules = RulesOf(answer[0], answer[1]);
    const std::string text = answer[2];
    const Heard whole = Read(rules, {text});
    for (const unsigned at_most : {1u, 1u, 3u, 7u, 20u}) {
      EXPECT_EQ(Read(rules, Cut(text, &random, at_most)), whole) << answer;
    }
  }
}

TEST_F(DescribedFormats, WhatIsNoCallIsContent) {
  const OutputRules rules = RulesOf("json", "<|turn|>assistant\n");
  const Heard message = Read(rules, {"So: <call>{broken</call> yes <call>[1]</call>"});
  EXPECT_EQ(message.content, "So: <call>{broken</call>\nyes <call>[1]</call>");
  EXPECT_TRUE(message.calls.empty());
}

TEST_F(DescribedFormats, DeepCallsAreNone) {
  const std::string lists = std::string(100'000, '[') + std::string(100'000, ']');
  const std::string text =
      R"x(<call>{"name": "add", "arguments": {"a": "]\"[", "b": )x" + lists + "}}</call>";
  EXPECT_EQ(Read(RulesOf("json", "<|turn|>assistant\n"), {text}).content, text);
}

TEST_F(DescribedFormats, WithoutToolsOrReasoningTheirTextIsContent) {
  OutputRules rules = RulesOf("json", "<|turn|>assistant\n");
  rules.choice = ToolChoice::kNone;
  const std::string text = R"(<think>a</think><call>{"name": "add"}</call>)";
  EXPECT_EQ(Read(rules, {text}).content, R"(<call>{"name": "add"}</call>)");
  EXPECT_EQ(Read(rules, {text}).reasoning, "a");
  rules.choice = ToolChoice::kAuto;
  rules.reasoning = nullptr;
  EXPECT_EQ(Read(rules, {text}).content, "<think>a</think>");
  EXPECT_EQ(Read(rules, {text}).calls.size(), 1u);
}

TEST_F(DescribedFormats, TextsComeAsTheyAreWritten) {
  const std::unique_ptr<OutputParser> parser =
      MakeOutputParser(RulesOf("json", "<|turn|>assistant\n<think>"));
  const auto push = [&](std::string_view piece) {
    OutputDeltas deltas;
    parser->Push(piece, &deltas);
    Heard message;
    Add(deltas, &message);
    return message.reasoning + "/" + message.content;
  };
  EXPECT_EQ(push("\nso "), "so/");
  EXPECT_EQ(push("far <"), " far/");  // "</think>" may come
  EXPECT_EQ(push("b>"), " <b>/");
  EXPECT_EQ(push("</think>\n\nHi"), "/Hi");
}

TEST_F(DescribedFormats, BadTemplatesAreRefusedByField) {
  const auto refusal = [](const char* fields, const char* more = R"("start_anchor": "x")") {
    const auto parsed = ResponseTemplate::Parse(
        Json::parse(fmt::format(R"({{"fields": {{{}}}, {}}})", fields, more)));
    EXPECT_FALSE(parsed.ok()) << fields;
    return Text(parsed.status());
  };
  EXPECT_THAT(refusal(""), HasSubstr("fields must be an object that is not empty"));
  EXPECT_THAT(refusal(R"("content": {})", R"("version": 1)"), HasSubstr("start_anchor is missing"));
  EXPECT_THAT(refusal(R"("content": {})", R"("version": 2)"), HasSubstr("version 2 is not known"));
  EXPECT_THAT(refusal(R"("content": {})", R"("new": 2)"), HasSubstr("unknown key \"new\""));
  EXPECT_THAT(refusal(R"("a": {}, "b": {})"), HasSubstr("fields \"a\" and \"b\" both have no"));
  const std::pair<const char*, const char*> kFields[] = {
      {R"(3)", "must be an object"},
      {R"({"opens": "<"})", "unknown key \"opens\""},
      {R"({"open": "<", "open_pattern": "<"})", "open and open_pattern contradict"},
      {R"({"open": ""})", "none empty"},
      {R"({"open": []})", "open has no texts"},
      {R"({"close_pattern": "(a"})", "close: regular expression \"(a\""},
      {R"({"content": "yaml"})", "content \"yaml\" is not known"},
      {R"({"content": "xml-inline"})", "tag_pattern must have a group named \"key\""},
      {R"({"content": "json", "content_args": {"string_delims": [["a"]]}})", "string_delims"},
      {R"({"content": "kv-lines", "content_args": {"kv_sep": ""}})", "kv_sep must be a text"},
      {R"x({"open_pattern": "(?P<n>a)", "content": "json"})x", "no transform that uses them"},
      {R"({"content": "json", "transform": {"a": "x{content}"}})", "mixes a placeholder"},
  };
  for (const auto& [field, reason] : kFields) {
    EXPECT_THAT(refusal(fmt::format(R"("tool_calls": {})", field).c_str()),
                testing::AllOf(HasSubstr("\"tool_calls\""), HasSubstr(reason)));
  }
  EXPECT_THAT(refusal(R"("content": {"content": "json"})"), HasSubstr("it must be a text"));
}

}  // namespace
}  // namespace folkmoot
