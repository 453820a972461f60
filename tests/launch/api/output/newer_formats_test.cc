// SPDX-License-Identifier: Apache-2.0
// More formats of tool calls that one family of models writes, or a few.
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "launch/api/output/formats.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

struct TextCase {
  std::string text, expected;
};

void ExpectEach(const ParseCase& how, std::span<const TextCase> cases) {
  for (const TextCase& one : cases) {
    EXPECT_EQ(ParseEveryWay(how, one.text), one.expected) << how.tools << ": " << one.text;
  }
}

TEST(NewerFormats, Hunyuan) {
  const TextCase cases[] = {
      {"I look.<tool_calls>\n<tool_call>get_weather<tool_sep>\n<arg_key>city</arg_key>\n"
       "<arg_value> 12 </arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n"
       "</tool_call>\n<tool_call>get_time<tool_sep>\n</tool_call>\n</tool_calls>",
       "content{I look.} get_weather({\"city\": \" 12 \", \"days\": 3}) get_time({})"},
      // Hunyuan 4
      {"<tool_calls><tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value>"
       "</tool_call><tool_call>get_time</tool_call></tool_calls> Ok",
       "content{ Ok} get_weather({\"city\": \"Paris\"}) get_time({})"},
      {"<tool_call>f<tool_sep><arg_key>a</arg_key><arg_value>[1, {\"b\": true}]</arg_value>",
       "f({\"a\": [1, {\"b\": true}])"},
      {"<tool_calls>see there</tool_calls>", "content{<tool_calls>see there</tool_calls>}"},
      {"<tool_calls><tool_call><tool_sep></tool_call>",
       "content{<tool_calls><tool_call><tool_sep></tool_call>}"},
      {"<tool_calls><tool_call>f<tool_sep>oops</tool_call></tool_calls>",
       "content{<tool_calls><tool_call>f<tool_sep>oops</tool_call></tool_calls>}"},
      {"<tool_calls><tool_call>f<arg_key>a</arg_key>oops</tool_calls>!",
       "content{!} f(<arg_key>a</arg_key>oops)"},
  };
  ExpectEach({.tools = "hy_v3"}, cases);
}

TEST(NewerFormats, HunyuansMarkersHaveEndings) {
  const ParseCase how{.tools = "hy_v4", .reasoning = "hy_v4", .suffix = ":6124c78e"};
  const TextCase cases[] = {
      {"<think:6124c78e>Rain?</think:6124c78e>So:<tool_calls:6124c78e><tool_call:6124c78e>"
       "get_weather<arg_key:6124c78e>city</arg_key:6124c78e><arg_value:6124c78e>Paris"
       "</arg_value:6124c78e></tool_call:6124c78e></tool_calls:6124c78e>",
       "reasoning{Rain?} content{So:} get_weather({\"city\": \"Paris\"})"},
      // Those of another model are text.
      {"<think>x</think><tool_calls><tool_call>f</tool_call></tool_calls>",
       "content{<think>x</think><tool_calls><tool_call>f</tool_call></tool_calls>}"},
  };
  ExpectEach(how, cases);
}

TEST(NewerFormats, EndingsAreThoseOfTheTokens) {
  const auto suffix = [](const std::string& tokens) {
    const auto tokenizer = Tokenizer::FromJson(
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[)" + tokens + "]}",
        "endings");
    EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    return WithSuffix(*FindFormat(ToolFormats(), "hy_v3"), **tokenizer);
  };
  const OutputFormat format =
      suffix(R"({"id":1,"content":"<tool_calls>:"},{"id":2,"content":"<tool_calls:a+b(c>"})");
  EXPECT_EQ(format.suffix, ":a+b(c");
  EXPECT_EQ(format.markers.front(), "<tool_calls:a+b(c>");
  EXPECT_EQ(format.markers.back(), "</arg_value:a+b(c>");
  EXPECT_EQ(suffix(R"({"id":1,"content":"<tool_calls>"})").suffix, "");
  EXPECT_EQ(suffix(R"({"id":1,"content":"<tool_call:x>"})").suffix, ":x");
  const OutputFormat none = suffix("");
  EXPECT_EQ(none.suffix, "");
  EXPECT_EQ(none.markers, FindFormat(ToolFormats(), "hy_v3")->markers);
}

TEST(NewerFormats, Dots) {
  const TextCase cases[] = {
      {"I look.<dots_function_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">\n"
       "Paris\n</parameter>\n<parameter name=\"days\">3</parameter>\n</invoke>\n"
       "<invoke name=\"get_time\"></invoke>\n</dots_function_call> Ok",
       "content{I look. Ok} get_weather({\"city\": \"Paris\", \"days\": 3}) get_time({})"},
      {"<dots_function_call>\n{\"name\": \"get_time\", \"arguments\": {\"zone\": \"CET\"}}\n"
       "</dots_function_call>",
       "get_time({\"zone\": \"CET\"})"},
      {"<dots_function_call>soon</dots_function_call>",
       "content{<dots_function_call>soon</dots_function_call>}"},
  };
  ExpectEach({.tools = "dots"}, cases);
}

constexpr char kAtemCall[] =
    "<atem:function_calls>\n<atem:invoke name=\"get_weather\">\n<atem:parameter name=\"city\"> 12 "
    "</atem:parameter>\n<atem:parameter name=\"days\">3</atem:parameter>\n</atem:invoke>\n"
    "</atem:function_calls>";

TEST(NewerFormats, MusesMessagesAreForSomebody) {
  const std::string start = "<|start|>assistant";
  const std::string call = kAtemCall;
  const TextCase cases[] = {
      {" to=self<|message|>Rain?<|eom|>" + start + " to=get_weather.get_weather<|message|>\n" +
           call + "<|eom|>" + start +
           " to=get_time<|message|><atem:invoke name=\"get_time.get_time\">"
           "</atem:invoke><|eom|>" +
           start + " to=user<|message|>So.<|eot|>",
       "reasoning{Rain?} content{So.} get_weather({\"city\": \" 12 \", \"days\": 3}) "
       "get_time({})"},
      {" to=user<|message|>Yes.<|eot|>", "content{Yes.}"},
      {"Yes.<|eot|>", "content{Yes.}"},  // the prompt has begun the message
      {"<|message|>Hm.<|eom|>" + start + " to=commentary<|message|>I look.<|eom|>" + start +
           " to=developer<|message|>x<|eom|>" + start + " to=user<|message|>Yes.<|eot|>",
       "reasoning{Hm.} content{I look.\nYes.}"},
      // Models forget to end their reasoning.
      {" to=self<|message|>Rain? to=get_weather<|message|>" + call,
       "reasoning{Rain?} get_weather({\"city\": \" 12 \", \"days\": 3})"},
      {" to=self<|message|>From A to=B to", "reasoning{From A to=B to}"},
      // What is shown in another message is no call, and what is none stays as it is.
      {" to=user<|message|>" + call + "<|eot|>", "content{" + call + "}"},
      {" to=f<|message|>\n{\"a\": 1}<|eom|>", "content{{\"a\": 1}}"},
      {" to=f<|message|><atem:function_calls>oops</atem:function_calls>",
       "content{<atem:function_calls>oops</atem:function_calls>}"},
      {" to=self<|mess", ""},
  };
  ExpectEach({.tools = "muse", .reasoning = "muse"}, cases);
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "muse"},
                          " to=f<|message|>" + call + "<|eom|>" + start + "<|message|>Hm"),
            "reasoning{Hm} content{" + call + "}");
}

// MiniMax-M3 puts a token in front of every tag, for which "~" stands here.
std::string WithTokens(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '~') {
      out += "]<]minimax[>[";
    } else {
      out += c;
    }
  }
  return out;
}

void ExpectM3(std::string_view text, std::string_view expected) {
  EXPECT_EQ(ParseEveryWay({.tools = "minimax_m3"}, WithTokens(text)), WithTokens(expected)) << text;
}

TEST(NewerFormats, MiniMaxM3) {
  ExpectM3(
      "I look.\n~<tool_call>\n~<invoke name=\"get_weather\">~<city>Paris~</city>~<days>3~</days>"
      "~</invoke>\n~<invoke name=\"get_time\">~</invoke>\n~</tool_call>",
      "content{I look.\n} get_weather({\"city\": \"Paris\", \"days\": 3}) get_time({})");
  // Tags without the token are text, and white space may stand behind it.
  ExpectM3("~<tool_call>~ <invoke name=\"f\">~<a><b>1</b> ~~</a>~\n</invoke>~</tool_call> Ok",
           "content{ Ok} f({\"a\": \"<b>1</b> ~\"})");
  ExpectM3("~<tool_call>text~</tool_call>", "content{~<tool_call>text~</tool_call>}");
  ExpectM3("~<tool_call>~<invoke name=\"\">", "content{~<tool_call>~<invoke name=\"\">}");
  ExpectM3("~<tool_call>~<invoke name=\"f\">~<a>1~</a>", "f({\"a\": 1)");
  ExpectM3("~<tool_call>~<invoke name=\"f\">~<a>x", "f(~<a>x)");
  // What is no element stays what the model wrote.
  ExpectM3("~<tool_call>~<invoke name=\"f\">oops~</tool_call>!", "content{!} f(oops)");
  ExpectM3("~<tool_call>~<invoke name=\"f\">~</a>~</tool_call>!", "content{!} f(~</a>)");
  ExpectM3("~<tool_call>~<invoke name=\"f\">~<a>x~</b>~</invoke>~</tool_call>!",
           "content{!} f(~<a>x~</b>~</invoke>)");
  ExpectM3("~<tool_call>~<invoke name=\"f\">~<a>1~</a>~<b>x~<c>1~</c>~</b>~</tool_call>!",
           "content{!} f({\"a\": 1~<b>x~<c>1~</c>~</b>)");
}

TEST(NewerFormats, MiniMaxM3sElementsAreWhatIsDeclared) {
  ExpectM3(
      "~<tool_call>~<invoke name=\"get_weather\">~<where>~<lat>47.4~</lat>~<zip>12~</zip>"
      "~<tags>~<item>1~</item>~<item>b~</item>~</tags>~</where>~<list>~<x>1~</x>~<x>2~</x>"
      "~</list>~<free>~<item>7~</item>~</free>~</invoke>~</tool_call>",
      "get_weather({\"where\": {\"lat\": 47.4, \"zip\": \"12\", \"tags\": [\"1\", \"b\"]}, "
      "\"list\": [1, 2], \"free\": {\"item\": \"7\"}})");
  ExpectM3(
      "~<tool_call>~<invoke name=\"get_weather\">~<list>~</list>~<free>~</free>~<city>~</city>"
      "~<note>~</note>~<any>~</any>~</invoke>~</tool_call>",
      "get_weather({\"list\": [], \"free\": {}, \"city\": \"\", \"note\": \"\", \"any\": \"\"})");
  // Where nothing is declared, items are a list, and members of the same name are one.
  ExpectM3(
      "~<tool_call>~<invoke name=\"f\">\n~<a>~<item>1~</item>\n~<item>~<b>x y~</b>~</item>~</a>\n"
      "~<c>~<d>1~</d>~<e>true~</e>~<d>2~</d>~</c>~<g>~<item>1~</item>~<h>2~</h>~</g>~</invoke>",
      "f({\"a\": [1, {\"b\": \"x y\"}], \"c\": {\"d\": [1, 2], \"e\": true}, "
      "\"g\": {\"item\": 1, \"h\": 2}})");
  std::string deep = "~<tool_call>~<invoke name=\"f\">";
  for (int i = 0; i < 100; ++i) deep += "~<a>";
  for (int i = 0; i < 100; ++i) deep += "~</a>";
  const std::string read = Parse({.tools = "minimax_m3"}, WithTokens(deep + "~</invoke>"));
  EXPECT_EQ(read.substr(0, 5), "f(]<]") << "no JSON of any depth";
}

TEST(NewerFormats, Cohere) {
  const TextCase cases[] = {
      {"<|START_THINKING|>I look.<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", "
       "\"tool_name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}},\n    "
       "{\"tool_name\": \"get_time\", \"parameters\": {}}\n]<|END_ACTION|>",
       "reasoning{I look.} get_weather({\"city\": \"Paris\"}) get_time({})"},
      {"<|START_THINKING|>Easy.<|END_THINKING|>\n<|START_RESPONSE|>Four.\n<|END_RESPONSE|>",
       "reasoning{Easy.} content{Four.\n}"},
      {"<|START_TEXT|>I look.<|END_TEXT|>\n<|START_ACTION|>[{\"parameters\": {\"a\": 1}, "
       "\"tool_call_id\": \"0\", \"tool_name\": \"f\"}]<|END_ACTION|>",
       "content{I look.} f({\"a\":1})"},
      {"<|START_TEXT|>cut <|END_TE", "content{cut <|END_TE}"},
      {"Four. <|START_TEXT|>", "content{Four. <|START_TEXT|>}"},
      {"<|START_ACTION|>[{\"name\": \"f\", \"parameters\": {}}]<|END_ACTION|>",
       "content{<|START_ACTION|>[{\"name\": \"f\", \"parameters\": {}}]<|END_ACTION|>}"},
      {"<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"a\": ",
       "f({\"a\": )"},
      {"<|START_ACTION|>[{\"tool_call_id\": \"0",
       "content{<|START_ACTION|>[{\"tool_call_id\": \"0}"},
  };
  ExpectEach({.tools = "cohere_command4", .reasoning = "cohere_command4"}, cases);
  EXPECT_EQ(ParseEveryWay({.tools = "cohere_command3"}, "<|START_TEXT|>Four.<|END_TEXT|>"),
            "content{Four.}");
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "cohere_command3", .opened = true},
                          "So.<|END_THINKING|><|START_RESPONSE|>Four.<|END_RESPONSE|>"),
            "reasoning{So.} content{Four.}");
  // The prompt may have begun the answer.
  EXPECT_EQ(ParseEveryWay({.tools = "", .reasoning = "cohere_command4"}, "our.<|END_TEXT|>\n"),
            "content{our.}");
}

TEST(NewerFormats, SolarOpen) {
  const TextCase cases[] = {
      {"<|think|>Rain?<|end|><|begin|>assistant<|content|>I look.<|end|><|begin|>assistant"
       "<|tool_calls|><|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>get_weather"
       "<|tool_call:args|>{\"city\": \"Paris\"}<|tool_call:end|><|tool_call:begin|>f6g7h8i9j0"
       "<|tool_call:name|>get_time<|tool_call:args|>{}<|tool_call:end|><|calls|>",
       "reasoning{Rain?} content{I look.} get_weather({\"city\": \"Paris\"}) get_time({})"},
      {"<|think|>Rain?<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>0<|tool_call:name|>"
       "f<|tool_call:args|>{\"a\": \"<|tool_call:end|>\"}<|tool_call:end|>",
       "reasoning{Rain?} f({\"a\": \"<|tool_call:end|>\"})"},
      {"<|content|>Four.", "content{Four.}"},
      {"<|tool_call:begin|>0<|tool_call:name|><|tool_call:args|>{}",
       "content{<|tool_call:begin|>0<|tool_call:name|><|tool_call:args|>{}}"},
      {"<|tool_calls|>none", "content{<|tool_calls|>none}"},
  };
  ExpectEach({.tools = "solar_open", .reasoning = "solar_open"}, cases);
}

TEST(NewerFormats, Inkling) {
  const std::string call =
      "get_weather<|content_invoke_tool_json|>{\"name\":\"get_weather\",\"args\":{\"city\":"
      "\"Paris\"}}"
      "<|end_message|>";
  const TextCase cases[] = {
      {"<|content_thinking|>Rain?<|end_message|><|message_model|><|content_text|>I look."
       "<|end_message|><|message_model|>" +
           call + "<|message_model|>" + call,
       "reasoning{Rain?} content{I look.} get_weather({\"city\":\"Paris\"}) "
       "get_weather({\"city\":\"Paris\"})"},
      {"<|content_thinking|>Rain?<|end_message|><|message_model|>" + call,
       "reasoning{Rain?} get_weather({\"city\":\"Paris\"})"},
      {call, "get_weather({\"city\":\"Paris\"})"},
      // Without a name in front, and as a whole: the arguments stand first.
      {"<|content_invoke_tool_json|>{\"args\":{},\"name\":\"f\"}", "f({})"},
      {"<|message_model|><|content_invoke_tool_json|>{\"name\": \"f\", \"args\": "
       "{\"a\": \"}<|end_\"}}",
       "f({\"a\": \"}<|end_\"})"},
      {"<|content_text|>Four.<|end_message|>", "content{Four.}"},
      {"Four times", "content{Four times}"},
      {"<|message_model|>Four", "content{<|message_model|>Four}"},
      {"f<|content_invoke_tool_json|>{}", "content{f<|content_invoke_tool_json|>{}}"},
  };
  ExpectEach({.tools = "inkling", .reasoning = "inkling"}, cases);
}

TEST(NewerFormats, GigaChat) {
  const std::string call = "{\"name\": \"f\", \"arguments\": {\"a\": [1]}}";
  const TextCase cases[] = {
      {"I look.<|message_sep|>\n\nfunction call<|role_sep|>\n" + call + "<|message_sep|>\n\n",
       "content{I look.} f({\"a\": [1]})"},
      {"function call<|role_sep|>\n" + call, "f({\"a\": [1]})"},
      {"I look.<|function_call|>" + call, "content{I look.} f({\"a\": [1]})"},
      {"A function call: " + call, "content{A function call: " + call + "}"},
  };
  ExpectEach({.tools = "gigachat3"}, cases);
}

TEST(NewerFormats, Nemotron) {
  const TextCase cases[] = {
      {"So:\n\n<TOOLCALL>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", "
       "\"arguments\": \"{}\"}]</TOOLCALL>",
       "content{So:\n\n} f({\"a\": 1}) g({})"},
      {"<TOOLCALL>[]</TOOLCALL>", "content{<TOOLCALL>[]</TOOLCALL>}"},
  };
  ExpectEach({.tools = "nemotron_json"}, cases);
}

TEST(NewerFormats, Olmo3) {
  const TextCase cases[] = {
      {"<function_calls>\nget_weather(city='Paris', days=3)\nget_time()\n</function_calls>",
       "get_weather({\"city\": \"Paris\", \"days\": 3}) get_time({})"},
      {"So: <function_calls>f(a=[true, null])</function_calls> Ok",
       "content{So:  Ok} f({\"a\": [true, null]})"},
      {"<function_calls>\nf()", "f({})"},
      {"<function_calls>f()\ng(1)</function_calls>", "content{g(1)</function_calls>} f({})"},
      {"<function_calls></function_calls>", "content{<function_calls></function_calls>}"},
      {"f()", "content{f()}"},
  };
  ExpectEach({.tools = "olmo3"}, cases);
}

TEST(NewerFormats, FunctionGemma) {
  const TextCase cases[] = {
      {"<start_function_call>call:get_weather{city:<escape>Pa}ris<escape>,days:3}"
       "<end_function_call><start_function_call>call:get_time{}<end_function_call>",
       "get_weather({\"city\": \"Pa}ris\", \"days\": 3}) get_time({})"},
      {"<start_function_call>call:f{a:<escape>cut}",
       "content{<start_function_call>call:f{a:<escape>cut}}"},
  };
  ExpectEach({.tools = "functiongemma"}, cases);
}

}  // namespace
}  // namespace folkmoot
