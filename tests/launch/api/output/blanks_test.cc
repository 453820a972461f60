// SPDX-License-Identifier: Apache-2.0
// White space where it means nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "launch/api/output/call_syntax.h"
#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

// Blanks are held where white space means nothing, but not without end: what is held is looked at
// with every token. (An object that is read as a whole is held, but each byte is looked at once.)
TEST(Blanks, AreHeldUpToALimit) {
  struct Case {
    std::string_view tools, reasoning;
    std::string before;
    ToolChoice choice = ToolChoice::kAuto;
  };
  const std::string hermes = "<tool_call>{\"name\": \"f\", \"arguments\": {}";
  const std::string deepseek = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function";
  const std::string glm = "<tool_call>f<arg_key>a</arg_key>";
  const std::string qwen = "<tool_call><function=f>";
  const std::string mistral = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}";
  const std::string m3 = "]<]minimax[>[<tool_call>";
  const Case cases[] = {
      {"", "qwen3", ""},
      {"", "deepseek_r1", ""},
      {"hermes", "qwen3", "<think>x</think>"},
      {"hermes", "", "<tool_call>"},
      {"hermes", "", hermes},
      {"hermes", "", hermes + "}"},
      {"hermes", "", hermes + "}</tool_call>"},
      {"deepseek_v3", "", "<｜tool▁calls▁begin｜>"},
      {"deepseek_v3", "", deepseek},
      {"deepseek_v3", "", deepseek + "<｜tool▁sep｜>f"},
      {"deepseek_v3", "", deepseek + "<｜tool▁sep｜>f```json"},
      {"deepseek_v3", "", deepseek + "<｜tool▁sep｜>f```json{}"},
      {"glm45", "", "<tool_call>"},
      {"glm45", "", "<tool_call>f"},
      {"glm45", "", glm},
      {"glm45", "", glm + "<arg_value>1</arg_value>"},
      {"qwen3_coder", "", "<tool_call>"},
      {"qwen3_coder", "", qwen},
      {"qwen3_coder", "", qwen + "<parameter=a"},
      {"qwen3_coder", "", qwen + "<parameter=a>1</parameter>"},
      {"qwen3_coder", "", qwen + "</function>"},
      {"mistral", "", "[TOOL_CALLS]"},
      {"mistral", "", "[TOOL_CALLS]f[ARGS]"},
      {"mistral", "", mistral},
      {"mistral", "", mistral + "}"},
      {"mistral", "", mistral + "},"},
      {"kimi_k2", "", "<|tool_call_begin|>"},
      {"kimi_k2", "", "<|tool_call_begin|>f<|tool_call_argument_begin|>"},
      {"minimax_m2", "", "<minimax:tool_call>"},
      {"minimax_m2", "", "<minimax:tool_call><invoke name=\"f\"></invoke>"},
      {"dots", "", "<dots_function_call>"},
      {"longcat", "", "<longcat_tool_call>"},
      {"hunyuan_a13b", "", "<tool_calls>"},
      {"hunyuan_a13b", "", "<tool_calls>" + hermes.substr(11) + "}"},
      {"hunyuan_a13b", "", "<tool_calls>[" + hermes.substr(11) + "},"},
      {"llama4_pythonic", "", ""},
      {"llama4_pythonic", "", "[f()"},
      {"llama4_pythonic", "", "[f(),"},
      {"lfm2", "", "<|tool_call_start|>"},
      {"lfm2", "", "<|tool_call_start|>["},
      {"lfm2", "", "<|tool_call_start|>[f()"},
      {"lfm2", "", "<|tool_call_start|>[f()]"},
      {"gemma4", "", "<|tool_call>"},
      {"gemma4", "", "<|tool_call>call:f{}"},
      {"seed_oss", "", "<seed:tool_call>"},
      {"zaya_xml", "", "<zyphra_tool_call>"},
      {"hy_v3", "", "<tool_calls>"},
      {"hy_v3", "", "<tool_calls><tool_call>f"},
      {"hy_v3", "", "<tool_calls><tool_call>f<tool_sep>"},
      {"hy_v3", "", "<tool_call>f<tool_sep></tool_call>"},
      {"minimax_m3", "", m3},
      {"minimax_m3", "", m3 + "]<]minimax[>[<invoke name=\"f\">"},
      {"minimax_m3", "", m3 + "]<]minimax[>[<invoke name=\"f\">]<]minimax[>["},
      {"minimax_m3", "", m3 + "]<]minimax[>[<invoke name=\"f\">]<]minimax[>[</invoke>"},
      {"cohere_command4", "", "<|START_ACTION|>["},
      {"cohere_command4", "cohere_command4", "<|START_THINKING|>x<|END_THINKING|>"},
      {"cohere_command4", "", "<|START_TEXT|>x<|END_TEXT|>"},
      {"", "ernie45", "<think>x</think><response>x</response>"},
      {"solar_open", "", "<|tool_calls|>"},
      {"solar_open", "", "<|tool_call:begin|>0<|tool_call:name|>"},
      {"solar_open", "", "<|tool_call:begin|>0<|tool_call:name|>f<|tool_call:args|>"},
      {"inkling", "", "<|message_model|>"},
      {"inkling", "", "<|content_text|>x<|end_message|>"},
      {"inkling", "", "<|content_invoke_tool_json|>"},
      {"gigachat3", "", "<|function_call|>"},
      {"nemotron_json", "", "<TOOLCALL>["},
      {"olmo3", "", "<function_calls>"},
      {"olmo3", "", "<function_calls>f()"},
      {"functiongemma", "", "<start_function_call>"},
      {"llama3_json", "", ""},
      {"llama3_json", "", hermes.substr(11) + "}"},
      {"llama3_json", "", hermes.substr(11) + "};"},
      {"openai", "", ""},
      {"openai", "", "<|channel|>final<|message|>x<|end|>"},
      {"", "", "", ToolChoice::kRequired},
      {"", "", mistral.substr(12) + "},", ToolChoice::kRequired},
      {"", "", "", ToolChoice::kNamed},
  };
  constexpr size_t kBlanks = 100'000, kPiece = 7;
  for (const Case& one : cases) {
    const ParseCase how{.tools = one.tools, .reasoning = one.reasoning, .choice = one.choice};
    const std::unique_ptr<OutputParser> parser = MakeOutputParser(RulesOf(how));
    OutputDeltas before;
    parser->Push(one.before, &before);
    size_t pushed = 0, told = 0, most = 0;
    const auto count = [&](const OutputDeltas& deltas) {
      for (const OutputDelta& delta : deltas.list()) {
        told += static_cast<size_t>(std::count(delta.text.begin(), delta.text.end(), ' '));
      }
    };
    while (pushed < kBlanks) {
      OutputDeltas deltas;
      parser->Push(std::string(kPiece, ' '), &deltas);
      pushed += kPiece;
      count(deltas);
      most = std::max(most, pushed - std::min(told, pushed));
    }
    OutputDeltas last;
    parser->Finish(&last);
    count(last);
    EXPECT_LT(most, 2 * kMaxSpace + 100) << one.tools << ": " << one.before;
    EXPECT_GE(told, pushed) << one.tools << ": " << one.before;
  }
}

TEST(Blanks, TheLimitIsTheTextsAndNotThatOfThePieces) {
  for (const size_t size : {kMaxSpace, kMaxSpace + 1}) {
    const std::string blanks(size, '\n');
    const bool few = size == kMaxSpace;
    const std::string call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    EXPECT_EQ(ParseEveryWay({.tools = "hermes"}, call + blanks + call),
              few ? "f({}) f({})" : "content{" + blanks + "} f({}) f({})");
    EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "qwen3"}, blanks + "<think>a</think>b"),
              few ? "reasoning{a} content{b}" : "content{" + blanks + "<think>a</think>b}");
    const std::string glm = "<tool_call>f" + blanks + "</tool_call>";
    EXPECT_EQ(ParseEveryWay({.tools = "glm45"}, glm), few ? "f({})" : "content{" + glm + "}");
  }
}

}  // namespace
}  // namespace folkmoot
