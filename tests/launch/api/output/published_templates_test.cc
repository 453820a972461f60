// SPDX-License-Identifier: Apache-2.0
// The calls that published chat templates write into a conversation are read back, for models write
// what their templates show them; and their prompts say where reasoning begins.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "launch/api/output/formats.h"
#include "launch/api/request/request_builder.h"
#include "nlohmann/json.hpp"
#include "runtime/jinja/chat_template.h"

namespace folkmoot {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kTools[] = R"([
  {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters":
    {"type": "object", "properties": {"city": {"type": "string", "description": "c"},
      "days": {"type": "integer", "description": "n"}, "where": {"type": "object",
      "description": "o"}}, "required": ["city"]}}},
  {"type": "function", "function": {"name": "get_time", "description": "d", "parameters":
    {"type": "object", "properties": {"zone": {"type": "string", "description": "z"}}}}}])";

struct Published {
  std::string source;
  std::unique_ptr<ChatTemplate> parsed;
};

Published Read(const std::string& name) {
  std::ifstream file(fmt::format("{}/chat_templates/{}.jinja", FOLKMOOT_TEST_DATA, name));
  Published out;
  out.source = {std::istreambuf_iterator<char>(file), {}};
  auto parsed =
      ChatTemplate::Parse(out.source, name, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (parsed.ok()) out.parsed = *std::move(parsed);
  return out;
}

std::string Render(const ChatTemplate& chat_template, const Json& messages) {
  const absl::StatusOr<ChatTemplate::Rendered> rendered =
      chat_template.Render({{"messages", messages},
                            {"tools", Json::parse(kTools)},
                            {"documents", nullptr},
                            {"add_generation_prompt", false}});
  EXPECT_TRUE(rendered.ok()) << rendered.status();
  return rendered.ok() ? rendered->text : "";
}

// What the template writes for a turn of the assistant with these calls.
std::string TurnWith(const ChatTemplate& chat_template, const Json& calls) {
  Json messages = Json::array({{{"role", "user"}, {"content", "Is it raining?"}}});
  const std::string before = Render(chat_template, messages);
  messages.push_back({{"role", "assistant"}, {"content", ""}, {"tool_calls", calls}});
  for (const Json& call : calls) {
    messages.push_back({{"role", "tool"},
                        {"content", "nothing"},
                        {"name", call["function"]["name"]},
                        {"tool_call_id", call["id"]}});
  }
  const std::string all = Render(chat_template, messages);
  size_t same = 0;
  while (same < std::min(before.size(), all.size()) && before[same] == all[same]) ++same;
  std::string turn = all.substr(same);
  // The prompt of a model has this part of a message already.
  constexpr std::string_view kHarmonyHead = "<|start|>assistant";
  if (turn.starts_with(kHarmonyHead)) turn.erase(0, kHarmonyHead.size());
  return turn;
}

Json CallsIn(const std::string& turn, const OutputFormat& format) {
  OutputRules rules;
  rules.tools = &format;
  rules.choice = ToolChoice::kAuto;
  rules.schemas = std::make_shared<const ToolSchemas>(Json::parse(kTools));
  const std::unique_ptr<OutputParser> parser = MakeOutputParser(rules);
  OutputDeltas deltas;
  parser->Push(turn, &deltas);
  parser->Finish(&deltas);
  Json calls = Json::array();
  for (const OutputDelta& delta : deltas.list()) {
    if (delta.kind == OutputDelta::Kind::kToolName) calls.push_back({{"name", delta.text}});
    if (delta.kind == OutputDelta::Kind::kToolArguments) {
      calls.back()["arguments"] = Json::parse(delta.text, nullptr, false);
    }
  }
  return calls;
}

TEST(PublishedTemplates, TheirCallsAreReadBack) {
  struct Case {
    const char* name;
    size_t calls;  // at once
  };
  const Case cases[] = {
      {"llama.cpp-GLM-4.6", 2},
      {"llama.cpp-GLM-4.7-Flash", 2},
      {"trl-glm4moe", 2},
      {"llama.cpp-inclusionai-ling-3.0-flash", 2},
      {"llama.cpp-Qwen3-Coder", 2},
      {"llama.cpp-Qwen3.5-4B", 2},
      {"llama.cpp-ByteDance-Seed-OSS", 2},
      {"llama.cpp-StepFun3.5-Flash", 2},
      {"llama.cpp-Qwen-Qwen3-0.6B", 2},
      {"llama.cpp-Qwen-Qwen2.5-7B-Instruct", 2},
      {"llama.cpp-Qwen-QwQ-32B", 2},
      {"llama.cpp-MiMo-VL", 2},
      {"llama.cpp-Bielik-11B-v3.0-Instruct", 2},
      {"llama.cpp-ibm-granite-granite-4.0", 2},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.1", 2},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.2", 2},
      {"llama.cpp-deepseek-ai-DeepSeek-V4", 2},
      {"llama.cpp-deepseek-ai-DeepSeek-V4-Flash-0731", 2},
      {"llama.cpp-MiniMax-M2", 2},
      {"llama.cpp-MiniMax-M1", 2},
      {"llama.cpp-unsloth-Apriel-1.5", 2},
      {"llama.cpp-Apriel-1.6-15b-Thinker-fixed", 2},
      {"llama.cpp-mistralai-Mistral-Nemo-Instruct-2407", 2},
      {"llama.cpp-Mistral-Small-3.2-24B-Instruct-2506", 2},
      {"llama.cpp-unsloth-mistral-Devstral-Small-2507", 2},
      {"llama.cpp-mistralai-Ministral-3-14B-Reasoning-2512", 2},
      {"llama.cpp-openai-gpt-oss-120b", 1},
      {"llama.cpp-GigaChat3-10B-A1.8B", 1},
      {"llama.cpp-GigaChat3.1-10B-A1.8B", 1},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Published published = Read(one.name);
    ASSERT_NE(published.parsed, nullptr);
    const OutputFormat* format = DetectFormat(ToolFormats(), published.source);
    ASSERT_NE(format, nullptr);
    Json calls = Json::parse(R"([
      {"id": "abcdefgh1", "type": "function", "function": {"name": "get_weather", "arguments":
        {"city": "Zürich", "days": 3, "where": {"lat": [47.4, "}"], "on": true}}}},
      {"id": "abcdefgh2", "type": "function", "function": {"name": "get_time", "arguments":
        {"zone": "12"}}}])");
    if (one.calls == 1) calls.erase(1);
    const std::string turn = TurnWith(*published.parsed, calls);
    Json expected = Json::array();
    for (const Json& call : calls) expected.push_back(call["function"]);
    EXPECT_EQ(CallsIn(turn, *format), expected) << turn;
  }
}

TEST(PublishedTemplates, SayWhereReasoningBegins) {
  struct Case {
    const char* name;
    Json arguments;
    bool opens, ends;
  };
  const Case cases[] = {
      {"llama.cpp-Qwen-Qwen3-0.6B", Json::object(), false, false},
      {"llama.cpp-Qwen-Qwen3-0.6B", {{"enable_thinking", false}}, false, true},
      {"llama.cpp-Qwen-QwQ-32B", {{"enable_thinking", true}}, true, false},
      {"llama.cpp-Qwen-QwQ-32B", Json::object(), false, true},
      {"llama.cpp-GLM-4.6", Json::object(), false, false},
      {"llama.cpp-GLM-4.6", {{"enable_thinking", false}}, false, true},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.1", Json::object(), false, true},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.1", {{"thinking", true}}, true, false},
      {"llama.cpp-openai-gpt-oss-120b", Json::object(), false, false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(fmt::format("{} {}", one.name, one.arguments.dump()));
    const Published published = Read(one.name);
    ASSERT_NE(published.parsed, nullptr);
    Json context = {{"messages", Json::array({{{"role", "user"}, {"content", "Hello"}}})},
                    {"tools", nullptr},
                    {"add_generation_prompt", true}};
    context.update(one.arguments);
    const auto rendered = published.parsed->Render(context);
    ASSERT_TRUE(rendered.ok()) << rendered.status();
    OutputRules rules;
    rules.reasoning = DetectFormat(ReasoningFormats(), published.source);
    SetReasoningStart({.text = rendered->text, .trusted = rendered->trusted},
                      /*begins_answer=*/true, &rules);
    EXPECT_EQ(rules.prompt_opens_reasoning, one.opens);
    EXPECT_EQ(rules.prompt_ends_reasoning, one.ends);
  }
}

}  // namespace
}  // namespace folkmoot
