// SPDX-License-Identifier: Apache-2.0
// Each format of tool calls, as its models and their templates write it.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "launch/api/output/call_syntax.h"
#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

struct FormatCase {
  std::string_view tools;
  std::string_view text;
  std::string_view expected;
};

void ExpectAll(std::span<const FormatCase> cases) {
  for (const FormatCase& one : cases) {
    EXPECT_EQ(ParseEveryWay({.tools = one.tools}, one.text), one.expected)
        << one.tools << ": " << one.text;
  }
}

TEST(ToolFormats, Hermes) {
  const FormatCase cases[] = {
      {"hermes", "Hello.", "content{Hello.}"},
      {"hermes",
       "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n"
       "</tool_call>",
       "get_weather({\"city\": \"Paris\"})"},
      {"hermes", "Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n",
       "content{Let me see.\n} f({})"},
      {"hermes",
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\\\"]\"}]}}\n"
       "</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
       "f({\"a\": [1, {\"b\": \"}\\\"]\"}]}) g({})"},
      // Other orders, other keys, arguments in a string, none at all.
      {"hermes", "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>",
       "f({\"a\":1})"},
      {"hermes", "<tool_call>{\"id\": 7, \"name\": \"f\", \"arguments\": {}}</tool_call>", "f({})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
       "f({\"a\": 1})"},
      {"hermes", "<tool_call>{\"name\": \"f\"}</tool_call>", "f({})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", "f({})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"parameters\": {\"a\": 1}}</tool_call>",
       "f({\"a\": 1})"},
      {"hermes",
       "<tool_call>{\"name\": \"\\u00e9t\\u00e9\", \"arguments\": {\"c\": \"Zürich 🌧\"}}"
       "</tool_call>",
       "été({\"c\": \"Zürich 🌧\"})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}, \"id\": {\"x\": 1}}</tool_call>",
       "f({})"},
      // Text behind calls, and what looks like a call and is none.
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call> Done.",
       "content{ Done.} f({})"},
      {"hermes", "a <tool_cal l> <tool_call", "content{a <tool_cal l> <tool_call}"},
      {"hermes", "<tool_call>no JSON</tool_call>", "content{<tool_call>no JSON</tool_call>}"},
      {"hermes", "<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>",
       "content{<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>}"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>",
       "content{<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>}"},
      {"hermes", "<tool_call><tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
       "content{<tool_call>} f({})"},
      // Cut off: before the call is one, and after.
      {"hermes", "<tool_call>\n{\"name\": \"f\", \"argu",
       "content{<tool_call>\n{\"name\": \"f\", \"argu}"},
      {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Par",
       "f({\"city\": \"Par)"},
      {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}", "f({})"},
      // A brace that is missing outside of the arguments does no harm; inside, the call keeps what
      // the model wrote.
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}</tool_call>x", "content{x} f({})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": {}</tool_call>x",
       "content{x} f({\"a\": {})"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 'b'}}</tool_call>",
       "f({\"a\": 'b'}})"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, DeepSeek) {
  const FormatCase cases[] = {
      {"deepseek_v3",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
       "{\"city\": "
       "\"Paris\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n"
       "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "get_weather({\"city\": \"Paris\"}) g({})"},
      {"deepseek_v31",
       "I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": "
       "\"Paris\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
       "<｜tool▁calls▁end｜>",
       "content{I look.} get_weather({\"city\": \"Paris\"}) g({})"},
      {"deepseek_v3", "a <｜tool▁x｜> <｜tool▁calls▁begin｜>text",
       "content{a <｜tool▁x｜> <｜tool▁calls▁begin｜>text}"},
      {"deepseek_v31", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>[1]",
       "content{<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>[1]}"},
      {"deepseek_v31",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": <x>}"
       "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "content{<｜tool▁calls▁end｜>} f({\"a\": <x>})"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, Mistral) {
  const FormatCase cases[] = {
      {"mistral", "[TOOL_CALLS][{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}]",
       "get_weather({\"city\": \"Paris\"})"},
      {"mistral",
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": [2]}}, {\"arguments\": {},"
       " \"name\": \"g\"}]",
       "f({\"a\": [2]}) g({})"},
      {"mistral",
       "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, \"id\": \"abc\"}, {\"name\": \"g\", "
       "\"arguments\": {\"a\": 1}, \"id\": \"def\"}]",
       "f({}) g({\"a\": 1})"},
      {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, oops}]",
       "content{ oops}]} f({})"},
      {"mistral", "So: [TOOL_CALLS]add{\"a\": 3.5, \"b\": 4}[TOOL_CALLS]f{}",
       "content{So: } add({\"a\": 3.5, \"b\": 4}) f({})"},
      {"mistral", "[TOOL_CALLS]add[ARGS]{\"a\": 1}", "add({\"a\": 1})"},
      {"mistral", "[TOOL_CALLS]add[CALL_ID]123456789[ARGS]{\"a\": 1}", "add({\"a\": 1})"},
      {"mistral", "[TOOL] [1, 2] [TOOL_CALLS]", "content{[TOOL] [1, 2] [TOOL_CALLS]}"},
      {"mistral", "[TOOL_CALLS][1]", "content{[TOOL_CALLS][1]}"},
      {"mistral", "[TOOL_CALLS]f(1)", "content{[TOOL_CALLS]f(1)}"},
      {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\"", "f({\"a\")"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, Llama) {
  const FormatCase cases[] = {
      {"llama3_json", "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}",
       "get_weather({\"city\": \"Paris\"})"},
      {"llama3_json", "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
       "f({\"a\": 1})"},
      {"llama4_json", "{\"name\": \"f\", \"arguments\": {}}; {\"name\": \"g\", \"parameters\": {}}",
       "f({}) g({})"},
      {"llama3_json", "{\"answer\": 42}", "content{{\"answer\": 42}}"},
      {"llama3_json", "Say {\"name\": \"f\", \"parameters\": {}}",
       "content{Say {\"name\": \"f\", \"parameters\": {}}}"},
      {"llama3_json", "<|python_tag|>brave_search.call(query=\"x\")",
       "content{<|python_tag|>brave_search.call(query=\"x\")}"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, Glm) {
  const FormatCase cases[] = {
      {"glm45",
       "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
       "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
       "get_weather({\"city\": \"Paris\", \"days\": 3})"},
      {"glm47",
       "Yes.<tool_call>get_weather<arg_key>city</arg_key><arg_value>12</arg_value></tool_call>"
       "<tool_call>get_time</tool_call>",
       "content{Yes.} get_weather({\"city\": \"12\"}) get_time({})"},
      // Values by their declared types.
      {"glm45",
       "<tool_call>get_weather\n<arg_key>note</arg_key><arg_value>null</arg_value>"
       "<arg_key>any</arg_key><arg_value>[1, \"a\"]</arg_value>"
       "<arg_key>other</arg_key><arg_value>a \"b\"\nc</arg_value>"
       "<arg_key>days</arg_key><arg_value>True</arg_value></tool_call>",
       "get_weather({\"note\": null, \"any\": [1, \"a\"], \"other\": \"a \\\"b\\\"\\nc\", "
       "\"days\": "
       "true})"},
      {"glm45", "<tool_call>see the docs</tool_call>",
       "content{<tool_call>see the docs</tool_call>}"},
      {"glm45", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b",
       "f({\"a\": 1\n<arg_key>b)"},
      {"glm45", "<tool_call>f\n<arg_key>a</arg_key>oops</tool_call>!",
       "content{!} f(<arg_key>a</arg_key>oops)"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, QwenCoder) {
  const FormatCase cases[] = {
      {"qwen3_coder",
       "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
       "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
       "get_weather({\"city\": \"Paris\", \"days\": 3})"},
      {"qwen3_xml",
       "I look.\n<tool_call>\n<function=get_time>\n</function>\n</tool_call>\n<tool_call>\n"
       "<function=get_weather>\n<parameter=city>\n  two\n lines\n\n</parameter>\n</function>\n"
       "</tool_call>",
       "content{I look.\n} get_time({}) get_weather({\"city\": \"  two\\n lines\\n\"})"},
      {"qwen3_coder", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
       "content{<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>}"},
      // Tags that the model forgot.
      {"qwen3_coder",
       "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n<parameter=days>\n3\n"
       "</function>\n</tool_call>",
       "get_weather({\"city\": \"Paris\", \"days\": 3})"},
      {"qwen3_coder",
       "<tool_call>\n<function=get_weather>\n<parameter=city\nParis\n</parameter>\n</function>\n"
       "</tool_call>x",
       "content{x} get_weather(\n<parameter=city\nParis\n</parameter>\n</function>\n)"},
  };
  ExpectAll(cases);
}

TEST(ToolFormats, NamesOfValuesAreShort) {
  for (const size_t size : {size_t{256}, size_t{257}}) {
    const std::string name(size, 'n');
    const std::string pair = "<parameter=" + name + ">1</parameter>";
    const std::string read = ParseEveryWay(
        {.tools = "qwen3_coder"}, "<tool_call><function=f>" + pair + "</function></tool_call>");
    EXPECT_EQ(read, size == 256 ? "f({\"" + name + "\": 1})" : "f(" + pair + "</function>)");
  }
}

TEST(ToolFormats, StringsStayStrings) {
  const std::pair<std::string_view, std::string_view> values[] = {
      {"city", "\"1\""}, {"maybe", "\"1\""}, {"unit", "\"1\""}, {"place", "\"1\""},
      {"both", "\"1\""}, {"either", "1"},    {"loop", "1"},     {"lost", "1"},
  };
  const OutputRules rules = RulesOf({.tools = "glm45"});
  for (const auto& [name, json] : values) {
    EXPECT_EQ(rules.schemas->ValueJson("get_weather", name, "1"), json) << name;
  }
  EXPECT_EQ(rules.schemas->ValueJson("get_weather", "maybe", "null"), "null");
  EXPECT_EQ(rules.schemas->ValueJson("get_weather", "city", "['a']"), "\"['a']\"");
  EXPECT_EQ(rules.schemas->ValueJson("get_weather", "either", "{'a': (1, True)}"),
            "{\"a\": [1, true]}");
  EXPECT_EQ(rules.schemas->ValueJson("get_weather", "either", "[a]"), "\"[a]\"");
}

TEST(ToolFormats, Harmony) {
  constexpr std::string_view kCall =
      "<|channel|>analysis<|message|>I need the weather.<|end|><|start|>assistant<|channel|>"
      "commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Paris\"}";
  const std::string ended = std::string(kCall) + "<|call|>";
  const FormatCase cases[] = {
      {"openai",
       "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>"
       "Four.<|return|>",
       "reasoning{Easy.} content{Four.}"},
      {"openai", kCall, "reasoning{I need the weather.} get_weather({\"city\": \"Paris\"})"},
      {"openai", ended, "reasoning{I need the weather.} get_weather({\"city\": \"Paris\"})"},
      // The recipient in front of the channel, a preamble, two calls, no arguments.
      {"openai",
       "<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant to=functions.f"
       "<|channel|>commentary json<|message|>{}<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.g<|message|><|call|>",
       "content{First I look.} f({}) g({})"},
      {"openai",
       "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>analysis<|message|>"
       "Two.<|end|><|start|>assistant<|channel|>final<|message|>a <|b|> c",
       "reasoning{One.\nTwo.} content{a <|b|> c}"},
      // The end marker is an end token: it is not shown.
      {"openai", "<|channel|>commentary to=functions.g<|message|>", "g({})"},
      {"openai", "Just text.", "content{Just text.}"},
      {"openai", "<|channel|>final<|mess", ""},
      {"openai", "<|channel|>analysis<|message|>Hm", "reasoning{Hm}"},
  };
  ExpectAll(cases);
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "openai_gptoss"}, kCall),
            "reasoning{I need the weather.} content{{\"city\": \"Paris\"}}");
}

TEST(ToolFormats, OfOurOwnConstraints) {
  const ParseCase required{.tools = "", .choice = ToolChoice::kRequired};
  EXPECT_EQ(ParseEveryWay(required,
                          "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}, {\"name\": "
                          "\"g\", \"parameters\": {}}]"),
            "f({\"a\": 1}) g({})");
  EXPECT_EQ(ParseEveryWay(required, "[{\"name\": \"f\", \"parameters\": {\"a"), "f({\"a)");
  const ParseCase named{.tools = "", .choice = ToolChoice::kNamed};
  EXPECT_EQ(ParseEveryWay(named, "{\"city\": \"Paris\"}"), "get_weather({\"city\": \"Paris\"})");
  EXPECT_EQ(ParseEveryWay(named, "{\"city\": \"Pa"), "get_weather({\"city\": \"Pa)");
  EXPECT_EQ(ParseEveryWay(named, ""), "");
}

TEST(ToolFormats, OneCallAlone) {
  const std::string text =
      "a<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n"
      "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>b";
  EXPECT_EQ(ParseEveryWay({.tools = "hermes", .parallel = false}, text), "content{ab} f({})");
  EXPECT_EQ(ParseEveryWay({.tools = "hermes", .choice = ToolChoice::kNone}, text),
            "content{" + text + "}");
}

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
