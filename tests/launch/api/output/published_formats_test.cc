// SPDX-License-Identifier: Apache-2.0
// Formats of tool calls that one family of models writes, or a few.
#include <gtest/gtest.h>

#include <span>

#include "launch/api/output/formats.h"
#include "launch/api/output/python_call.h"
#include "nlohmann/json.hpp"
#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

struct TextCase {
  std::string_view text;
  std::string_view expected;
};

void ExpectEach(std::string_view tools, std::span<const TextCase> cases) {
  for (const TextCase& one : cases) {
    EXPECT_EQ(ParseEveryWay({.tools = tools}, one.text), one.expected) << tools << ": " << one.text;
  }
}

TEST(PublishedFormats, Kimi) {
  const TextCase cases[] = {
      {"I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
       "<|tool_call_argument_begin|>{\"city\": \"Paris\"}<|tool_call_end|><|tool_call_begin|>"
       "functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
       "<|tool_calls_section_end|>",
       "content{I look.} get_weather({\"city\": \"Paris\"}) get_time({})"},
      {"<|tool_calls_section_begin|>\n<|tool_call_begin|> f:12 <|tool_call_argument_begin|> {}\n"
       "<|tool_call_end|>\n<|tool_calls_section_end|>",
       "f({})"},
      {"<|tool_call_begin|>a:b<|tool_call_argument_begin|>{\"c\": 1", "a:b({\"c\": 1)"},
      {"<|tool_call_begin|>functions.:0<|tool_call_argument_begin|>{}",
       "content{<|tool_call_begin|>functions.:0<|tool_call_argument_begin|>{}}"},
      {"<|tool_call_begin|>f<|tool_call_argument_begin|>[1]",
       "content{<|tool_call_begin|>f<|tool_call_argument_begin|>[1]}"},
  };
  ExpectEach("kimi_k2", cases);
}

TEST(PublishedFormats, KimisIdsAreTold) {
  const std::unique_ptr<OutputParser> parser = MakeOutputParser(RulesOf({.tools = "kimi_k2"}));
  OutputDeltas deltas;
  parser->Push("<|tool_call_begin|>functions.f:7<|tool_call_argument_begin|>{}", &deltas);
  ASSERT_FALSE(deltas.list().empty());
  EXPECT_EQ(deltas.list().front().id, "functions.f:7");
  EXPECT_EQ(deltas.list().front().text, "f");
}

TEST(PublishedFormats, MiniMax) {
  const TextCase cases[] = {
      {"So:\n<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris"
       "</parameter>\n<parameter name=\"days\">3</parameter>\n</invoke>\n<invoke name=\"f\">\n"
       "</invoke>\n</minimax:tool_call>",
       "content{So:\n} get_weather({\"city\": \"Paris\", \"days\": 3}) f({})"},
      {"<minimax:tool_call><invoke name=\"get_weather\"><parameter name=\"city\">\n12\n a\n"
       "</parameter></invoke></minimax:tool_call> Done.",
       "content{ Done.} get_weather({\"city\": \"12\\n a\"})"},
      {"<minimax:tool_call>text</minimax:tool_call>",
       "content{<minimax:tool_call>text</minimax:tool_call>}"},
      {"<minimax:tool_call><invoke name=\"\">", "content{<minimax:tool_call><invoke name=\"\">}"},
      {"<minimax:tool_call><invoke name=\"f\">oops</minimax:tool_call>!", "content{!} f(oops)"},
  };
  ExpectEach("minimax_m2", cases);
}

TEST(PublishedFormats, Dots) {
  const TextCase cases[] = {
      {"So:\n<dots_function_call>\n<invoke name=\"get_weather\">\n<parameter "
       "name=\"city\">\nParis\n"
       "</parameter>\n<parameter name=\"days\">\n3\n</parameter>\n</invoke>\n<invoke name=\"f\">\n"
       "</invoke>\n</dots_function_call>",
       "content{So:\n} get_weather({\"city\": \"Paris\", \"days\": 3}) f({})"},
      {"<dots_function_call><invoke name=\"f\"><parameter name=\"a\">{\"b\": "
       "1}</parameter></invoke>"
       "</dots_function_call>\n<dots_function_call><invoke "
       "name=\"f\"></invoke></dots_function_call>",
       "f({\"a\": {\"b\": 1}}) f({})"},
      {"<dots_function_call>text</dots_function_call>",
       "content{<dots_function_call>text</dots_function_call>}"},
  };
  ExpectEach("dots", cases);
}

TEST(PublishedFormats, Dsml) {
  const TextCase cases[] = {
      {"A.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n"
       "<｜DSML｜parameter name=\"city\" string=\"true\"> 12 \n</｜DSML｜parameter>\n"
       "<｜DSML｜parameter name=\"days\" string=\"false\">[1, {\"a\": null}]</｜DSML｜parameter>\n"
       "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"f\">\n</｜DSML｜invoke>\n"
       "</｜DSML｜function_calls>",
       "content{A.\n\n} get_weather({\"city\": \" 12 \\n\", \"days\": [1, {\"a\": null}]}) f({})"},
      {"<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\" "
       "string=\"false\">no JSON</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>",
       "f({\"a\": \"no JSON\"})"},
      {"<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"a\">1"
       "</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>",
       "f(<｜DSML｜parameter name=\"a\">1</｜DSML｜parameter></｜DSML｜invoke>)"},
  };
  ExpectEach("deepseek_v32", cases);
}

TEST(PublishedFormats, LongCat) {
  const TextCase cases[] = {
      {"<longcat_tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</longcat_tool_call>\n"
       "<longcat_tool_call>get_weather\n<longcat_arg_key>city</longcat_arg_key>\n"
       "<longcat_arg_value>12</longcat_arg_value>\n</longcat_tool_call>",
       "f({\"a\": 1}) get_weather({\"city\": \"12\"})"},
      {"<longcat_tool_call>see there</longcat_tool_call>",
       "content{<longcat_tool_call>see there</longcat_tool_call>}"},
  };
  ExpectEach("longcat", cases);
}

TEST(PublishedFormats, ListsOfCalls) {
  const TextCase cases[] = {
      {"<tool_calls>[{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, {\"name\": \"g\", "
       "\"arguments\": {}, \"id\": \"x\"}]</tool_calls> Done.",
       "content{ Done.} f({\"a\": [1]}) g({})"},
      {"<tool_calls>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}\n"
       "</tool_calls>",
       "f({}) g({})"},
      {"<tool_calls>[{\"name\": \"f\", \"arguments\": {}}", "f({})"},
      {"<tool_calls>[1]</tool_calls>", "content{<tool_calls>[1]</tool_calls>}"},
  };
  ExpectEach("hunyuan_a13b", cases);
  const TextCase granite[] = {
      {"<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\"}]",
       "f({\"a\": 1}) g({})"},
      {"<|tool_call|>", "content{<|tool_call|>}"},
  };
  ExpectEach("granite", granite);
  const TextCase phi[] = {
      {"functools[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]", "f({\"a\": 1})"},
      {"import functools\n\nfunctools.cache", "content{import functools\n\nfunctools.cache}"},
  };
  ExpectEach("phi4_mini_json", phi);
}

TEST(PublishedFormats, Pythonic) {
  const TextCase cases[] = {
      {"[get_weather(city='Paris', days=3), get_time()]",
       "get_weather({\"city\": \"Paris\", \"days\": 3}) get_time({})"},
      {"<|python_start|>[f(a=[1, -2.5e3, True], b={'x': None, \"y\": (False,)})]<|python_end|> Ok",
       "content{ Ok} f({\"a\": [1, -2.5e3, true], \"b\": {\"x\": null, \"y\": [false]}})"},
      {"[f(a='it\\'s ) \"so\"\\n\\u00e9\\x41', b=\"]\\\\\"), g(\n  a = 1_000,\n)]",
       "f({\"a\": \"it's ) \\\"so\\\"\\néA\", \"b\": \"]\\\\\"}) g({\"a\": 1000})"},
      // A list is no call; positional arguments, names and sums are none that we know.
      {"[1, 2, 3]", "content{[1, 2, 3]}"},
      {"[\"a\"]", "content{[\"a\"]}"},
      {"[f(1)]", "content{[f(1)]}"},
      {"[f(a=b)]", "content{[f(a=b)]}"},
      {"[f(a=1+1)]", "content{[f(a=1+1)]}"},
      {"[f(a=1), g(2)]", "content{ g(2)]} f({\"a\": 1})"},
      {"[f(a='cut", "content{[f(a='cut}"},
      {"Call [f()]", "content{Call [f()]}"},
  };
  ExpectEach("pythonic", cases);
}

TEST(PublishedFormats, Lfm2) {
  const TextCase cases[] = {
      {"<|tool_call_start|>[get_weather(city='Paris', days=3), get_time()]<|tool_call_end|>I look.",
       "content{I look.} get_weather({\"city\": \"Paris\", \"days\": 3}) get_time({})"},
      {"So: <|tool_call_start|>[{\"name\": \"f\", \"arguments\": {\"a\": [1]}}, {\"name\": \"g\", "
       "\"arguments\": {}}]<|tool_call_end|>",
       "content{So: } f({\"a\": [1]}) g({})"},
      {"<|tool_call_start|>[f(a=1)]<|tool_call_end|>\n<|tool_call_start|>[ {\"name\": \"g\", "
       "\"arguments\": {}}]<|tool_call_end|>",
       "f({\"a\": 1}) g({})"},
      // Without the marker it is a text.
      {"[f()]", "content{[f()]}"},
      {"<|tool_call_start|>f()<|tool_call_end|>",
       "content{<|tool_call_start|>f()<|tool_call_end|>}"},
      {"<|tool_call_start|>[", "content{<|tool_call_start|>[}"},
      {"<|tool_call_start|>[f(a='cut", "content{<|tool_call_start|>[f(a='cut}"},
  };
  ExpectEach("lfm2", cases);
}

TEST(PublishedFormats, Gemma4) {
  const TextCase cases[] = {
      {"I look.<|tool_call>call:get_weather{city:<|\"|>Pa\"}ris<|\"|>,days:3,where:{lat:[47.4,-8],"
       "on:true,<|\"|>a:b<|\"|>:null}}<tool_call|><|tool_call>call:get_time{}<tool_call|>",
       "content{I look.} get_weather({\"city\": \"Pa\\\"}ris\", \"days\": 3, \"where\": "
       "{\"lat\": [47.4, -8], \"on\": true, \"a:b\": null}}) get_time({})"},
      {"<|tool_call>call: f {a: <|\"|>x\n<|\"|> , b: [ ] }<tool_call|>",
       "content{<|tool_call>call: f {a: <|\"|>x\n<|\"|> , b: [ ] }<tool_call|>}"},
      {"<|tool_call>call:f{a: <|\"|>x\n<|\"|> , b: [ ] }<tool_call|>",
       "f({\"a\": \"x\\n\", \"b\": []})"},
      // A string without its quotes is one all the same; JSON's are JSON.
      {"<|tool_call>call:f{a:two words,b:\"three\"}<tool_call|>",
       "f({\"a\": \"two words\", \"b\": \"three\"})"},
      {"<|tool_call>call:f{a:1}", "f({\"a\": 1})"},
      {"<|tool_call>call:f{a}<tool_call|>", "content{<|tool_call>call:f{a}<tool_call|>}"},
      {"<|tool_call>call:f{a:}<tool_call|>", "content{<|tool_call>call:f{a:}<tool_call|>}"},
      {"<|tool_call>call:f{a:<|\"|>cut}", "content{<|tool_call>call:f{a:<|\"|>cut}}"},
      {"<|tool_call>call:{a:1}<tool_call|>", "content{<|tool_call>call:{a:1}<tool_call|>}"},
      {"<|tool_call>f{}<tool_call|>", "content{<|tool_call>f{}<tool_call|>}"},
  };
  ExpectEach("gemma4", cases);
  EXPECT_EQ(ParseEveryWay({.tools = "gemma4"}, "<|tool_call>call:f{a:" + std::string(200, '[') +
                                                   std::string(200, ']') + "}")
                .substr(0, 8),
            "content{");
}

TEST(PublishedFormats, Gemma4Reasons) {
  EXPECT_EQ(ParseEveryWay({.tools = "gemma4", .reasoning = "gemma4"},
                          "<|channel>thought\nRain?<channel|>Yes.<|tool_call>call:f{}<tool_call|>"),
            "reasoning{Rain?} content{Yes.} f({})");
}

TEST(PublishedFormats, SeedOss) {
  const TextCase cases[] = {
      {"So:\n<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n"
       "<parameter=days>3</parameter>\n</function>\n</seed:tool_call>",
       "content{So:\n} get_weather({\"city\": \"Paris\", \"days\": 3})"},
      {"<seed:tool_call><function=f></function></seed:tool_call>", "f({})"},
      {"<tool_call><function=f></function></tool_call>",
       "content{<tool_call><function=f></function></tool_call>}"},
  };
  ExpectEach("seed_oss", cases);
}

TEST(PublishedFormats, Zaya) {
  const TextCase cases[] = {
      {"So:\n<zyphra_tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
       "<parameter=days>\n3\n</parameter>\n</function>\n</zyphra_tool_call>",
       "content{So:\n} get_weather({\"city\": \"Paris\", \"days\": 3})"},
      {"<zyphra_tool_call><function=f></function></zyphra_tool_call>", "f({})"},
      {"<tool_call><function=f></function></tool_call>",
       "content{<tool_call><function=f></function></tool_call>}"},
  };
  ExpectEach("zaya_xml", cases);
}

TEST(PublishedFormats, PythonsArgumentsAreJson) {
  const std::string deep(200, '[');
  std::string name, arguments;
  EXPECT_EQ(
      PythonCall().Read("f(a=" + deep + std::string(200, ']') + ")", true, &name, &arguments).is,
      Reading::Is::kNo);
  for (const char* text : {"f(a='\\ud800\\U00110000')", "f(a=\"\\q\\a\")", "f(**{})", "f(a=.5)",
                           "f(a=0x10)", "f(a={1: 2})", "f(a='''b''')", "f(a=)", "f(,)"}) {
    arguments.clear();
    const Reading reading = PythonCall().Read(text, true, &name, &arguments);
    if (reading.is == Reading::Is::kDone) {
      EXPECT_TRUE(nlohmann::json::accept(arguments)) << text << ": " << arguments;
    }
  }
}

}  // namespace
}  // namespace folkmoot
