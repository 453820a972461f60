// SPDX-License-Identifier: Apache-2.0
#include "tests/launch/api/output/parse_output.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>

#include "launch/api/output/formats.h"
#include "nlohmann/json.hpp"

namespace folkmoot {
namespace {

using Kind = OutputDelta::Kind;

constexpr char kTools[] = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                   "note": {"type": ["string", "null"]}, "any": {},
                   "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                   "unit": {"enum": ["1", "2"]}, "place": {"$ref": "#/$defs/place"},
                   "loop": {"$ref": "#/$defs/loop"}, "lost": {"$ref": "#/$defs/none"},
                   "either": {"oneOf": [{"type": "string"}, {}]},
                   "both": {"allOf": [{"$ref": "#/$defs/place"}, {"description": "x"}]},
                   "where": {"type": "object", "properties": {"lat": {"type": "number"},
                     "zip": {"$ref": "#/$defs/place"}, "tags": {"type": "array",
                       "items": {"anyOf": [{"type": "string"}]}}}},
                   "list": {"type": "array"}, "free": {"type": "object",
                     "additionalProperties": {"type": "string"}}},
    "$defs": {"place": {"type": "string"}, "loop": {"$ref": "#/$defs/loop"}}}}},
  {"type": "function", "function": {"name": "get_time"}}])";

struct Read {
  std::string content, reasoning;
  std::vector<std::string> names, arguments;

  void Add(const OutputDeltas& deltas) {
    for (const OutputDelta& delta : deltas.list()) {
      const auto tool = static_cast<size_t>(delta.tool);
      if (delta.kind == Kind::kContent) content += delta.text;
      if (delta.kind == Kind::kReasoning) reasoning += delta.text;
      if (delta.kind == Kind::kToolName) {
        EXPECT_EQ(tool, names.size());
        EXPECT_FALSE(delta.text.empty());
        names.push_back(delta.text);
        arguments.emplace_back();
      }
      if (delta.kind == Kind::kToolArguments) {
        ASSERT_EQ(tool + 1, names.size()) << "the call is over, or has not begun";
        arguments[tool] += delta.text;
      }
    }
  }

  std::string Line() const {
    std::string line;
    if (!reasoning.empty()) line += "reasoning{" + reasoning + "} ";
    if (!content.empty()) line += "content{" + content + "} ";
    for (size_t i = 0; i < names.size(); ++i) line += names[i] + "(" + arguments[i] + ") ";
    if (!line.empty()) line.pop_back();
    return line;
  }
};

// Kept, for rules only point to formats.
const OutputFormat* Suffixed(const OutputFormat* format, std::string_view suffix) {
  static std::map<std::pair<const OutputFormat*, std::string>, OutputFormat> kept;
  if (format == nullptr || suffix.empty()) return format;
  const auto key = std::make_pair(format, std::string(suffix));
  return &kept.try_emplace(key, WithSuffix(*format, suffix)).first->second;
}

}  // namespace

OutputRules RulesOf(const ParseCase& how) {
  OutputRules rules;
  rules.tools = Suffixed(FindFormat(ToolFormats(), how.tools), how.suffix);
  rules.reasoning = Suffixed(FindFormat(ReasoningFormats(), how.reasoning), how.suffix);
  EXPECT_EQ(rules.tools == nullptr, how.tools.empty());
  EXPECT_EQ(rules.reasoning == nullptr, how.reasoning.empty());
  rules.choice = how.choice;
  if (how.choice == ToolChoice::kAuto && rules.tools == nullptr) rules.choice = ToolChoice::kNone;
  rules.named_tool = "get_weather";
  rules.prompt_opens_reasoning = how.opened;
  rules.template_begins_answer = true;
  rules.parallel_calls = how.parallel;
  rules.schemas = std::make_shared<const ToolSchemas>(nlohmann::ordered_json::parse(kTools));
  return rules;
}

std::string Parse(const ParseCase& how, const std::vector<std::string_view>& pieces) {
  const std::unique_ptr<OutputParser> parser = MakeOutputParser(RulesOf(how));
  Read read;
  for (const std::string_view piece : pieces) {
    OutputDeltas deltas;
    parser->Push(piece, &deltas);
    read.Add(deltas);
  }
  OutputDeltas deltas;
  parser->Finish(&deltas);
  read.Add(deltas);
  return read.Line();
}

std::string Parse(const ParseCase& how, std::string_view text) {
  return Parse(how, std::vector<std::string_view>{text});
}

std::string ParseEveryWay(const ParseCase& how, std::string_view text) {
  const std::string whole = Parse(how, text);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Parse(how, {text.substr(0, cut), text.substr(cut)}), whole) << "cut at " << cut;
  }
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  EXPECT_EQ(Parse(how, bytes), whole) << "byte by byte";
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, 1 + random() % 12));
      at += pieces.back().size();
    }
    EXPECT_EQ(Parse(how, pieces), whole) << "random cuts " << round;
  }
  return whole;
}

}  // namespace folkmoot
