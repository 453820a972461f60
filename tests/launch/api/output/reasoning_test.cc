// SPDX-License-Identifier: Apache-2.0
// Reasoning, and what stands behind it.
#include <gtest/gtest.h>

#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

TEST(Reasoning, BetweenMarkers) {
  const ParseCase qwen{.tools = "", .reasoning = "qwen3"};
  EXPECT_EQ(ParseEveryWay(qwen, "<think>\nSo.\n</think>\n\nFour."),
            "reasoning{\nSo.\n} content{\n\nFour.}");
  EXPECT_EQ(ParseEveryWay(qwen, "\n<think>é 🌧</think>x"), "reasoning{é 🌧} content{x}");
  EXPECT_EQ(ParseEveryWay(qwen, "<think></think>x"), "content{x}");
  EXPECT_EQ(ParseEveryWay(qwen, "<think>cut </thi"), "reasoning{cut </thi}");
  // Later, or in part, a marker is text.
  EXPECT_EQ(ParseEveryWay(qwen, "Four. <think>x</think>"), "content{Four. <think>x</think>}");
  EXPECT_EQ(ParseEveryWay(qwen, "<thin"), "content{<thin}");
  EXPECT_EQ(ParseEveryWay(qwen, "<think>a</think>b</think>"), "reasoning{a} content{b</think>}");
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "mistral"}, "[THINK]a[/THINK]b"),
            "reasoning{a} content{b}");
}

TEST(Reasoning, ThatThePromptOpened) {
  const ParseCase opened{.tools = "", .reasoning = "glm45", .opened = true};
  EXPECT_EQ(ParseEveryWay(opened, "So.</think>Four."), "reasoning{So.} content{Four.}");
  EXPECT_EQ(ParseEveryWay(opened, "So."), "reasoning{So.}");
  EXPECT_EQ(ParseEveryWay(opened, "<think>So.</think>Four."), "reasoning{So.} content{Four.}");
  // This family opens it without saying so, unless the prompt has ended it.
  const ParseCase always{.tools = "", .reasoning = "deepseek_r1"};
  EXPECT_EQ(ParseEveryWay(always, "So.</think>Four."), "reasoning{So.} content{Four.}");
  // Where the prompt ends inside of a message the text goes on with it.
  OutputRules resumed = RulesOf(always);
  resumed.template_begins_answer = false;
  EXPECT_FALSE(resumed.begins_inside_reasoning());
  OutputRules ended = RulesOf(always);
  ended.prompt_ends_reasoning = true;
  OutputDeltas deltas;
  const std::unique_ptr<OutputParser> parser = MakeOutputParser(ended);
  parser->Push("Four.", &deltas);
  ASSERT_EQ(deltas.list().size(), 1u);
  EXPECT_EQ(deltas.list()[0].kind, OutputDelta::Kind::kContent);
}

TEST(Reasoning, AnEndThatComesFirstIsDropped) {
  const ParseCase m3{.tools = "", .reasoning = "minimax_m3"};
  EXPECT_EQ(ParseEveryWay(m3, "<mm:think>So.</mm:think>Four."), "reasoning{So.} content{Four.}");
  EXPECT_EQ(ParseEveryWay(m3, "</mm:think>Four."), "content{Four.}");
  EXPECT_EQ(ParseEveryWay(m3, "</mm:think></mm:think>"), "content{</mm:think>}");
  EXPECT_EQ(ParseEveryWay(m3, "</mm:thin"), "content{</mm:thin}");
  EXPECT_EQ(ParseEveryWay(m3, "Four.</mm:think>"), "content{Four.</mm:think>}");
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "minimax_m3", .opened = true},
                          "</mm:think>Four.</mm:think>"),
            "content{Four.</mm:think>}");
}

// Hunyuan-A13B and ERNIE 4.5 write the answer between lines of its own.
TEST(Reasoning, AnswersMayHaveAFrame) {
  const ParseCase hunyuan{.tools = "hunyuan_a13b", .reasoning = "hunyuan_a13b"};
  EXPECT_EQ(ParseEveryWay(hunyuan, "<think>\nSo.\n</think>\n<answer>\nFour.\n\n</answer>\n"),
            "reasoning{\nSo.\n} content{Four.\n}");
  EXPECT_EQ(ParseEveryWay(hunyuan,
                          "<think>\n\n</think>\n<answer>\n<tool_calls>[{\"name\": \"f\", "
                          "\"arguments\": {}}]</tool_calls>\n</answer>"),
            "reasoning{\n\n} f({})");
  // The end counts at the end of the text alone, and a text without a frame is as it is.
  EXPECT_EQ(ParseEveryWay(hunyuan, "<answer>a</answer> is a tag</answer>"),
            "content{a</answer> is a tag}");
  EXPECT_EQ(ParseEveryWay(hunyuan, "<think>x</think>\nFour.\n</answer>"),
            "reasoning{x} content{\nFour.\n</answer>}");
  EXPECT_EQ(ParseEveryWay(hunyuan, "<answer>\ncut\n</ans"), "content{cut\n</ans}");
  EXPECT_EQ(ParseEveryWay(hunyuan, "<answ"), "content{<answ}");
  EXPECT_EQ(ParseEveryWay({.tools = "ernie45", .reasoning = "ernie45", .opened = true},
                          "So.\n</think>\n\n<response>\nFour.\n</response>\n"),
            "reasoning{So.\n} content{Four.}");
}

TEST(Reasoning, CallsCountBehindItOnly) {
  const std::string call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  const ParseCase both{.tools = "hermes", .reasoning = "qwen3"};
  EXPECT_EQ(ParseEveryWay(both, "<think>I might " + call + "</think>\n" + call),
            "reasoning{I might " + call + "} content{\n} f({})");
  EXPECT_EQ(ParseEveryWay(both, call), "f({})");
}

}  // namespace
}  // namespace folkmoot
