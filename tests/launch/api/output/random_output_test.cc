// SPDX-License-Identifier: Apache-2.0
// Random texts, made of what calls are made of in the wrong order: nothing is lost, nothing depends
// on the cuts, and characters stay whole.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "launch/api/output/formats.h"
#include "nlohmann/json.hpp"
#include "tests/launch/api/output/parse_output.h"

namespace folkmoot {
namespace {

// "%" becomes a word that occurs once.
constexpr std::string_view kCommon[] = {"%",
                                        " ",
                                        "\n",
                                        "é%",
                                        "🌧",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ";",
                                        ",",
                                        "\"%\"",
                                        "{\"%\": [1, \"%\"]}",
                                        "```",
                                        "<",
                                        "<think>",
                                        "</think>",
                                        "[THINK]",
                                        "[/THINK]",
                                        "\\\"",
                                        "{\"name\": \"%\", \"arguments\": ",
                                        "{\"name\": \"%\", \"parameters\": {}}"};

// One good call of each format, so that random texts have some.
std::string CallOf(std::string_view format) {
  if (format == "openai") {
    return "<|start|>assistant<|channel|>commentary to=functions.%<|message|>{\"%\": 1}<|call|>";
  }
  if (format == "glm45") {
    return "<tool_call>%\n<arg_key>%</arg_key>\n<arg_value>%</arg_value>\n</tool_call>";
  }
  if (format == "qwen3_coder") {
    return "<tool_call>\n<function=%>\n<parameter=%>\n%\n</parameter>\n</function>\n</tool_call>";
  }
  if (format == "deepseek_v3") {
    return "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>%<｜tool▁sep｜>{\"%\": \"é\"}"
           "<｜tool▁call▁end｜>";
  }
  if (format == "mistral") return "[TOOL_CALLS]%[ARGS]{\"%\": 1}";
  if (format == "kimi_k2") {
    return "<|tool_call_begin|>functions.%:0<|tool_call_argument_begin|>{\"%\": "
           "1}<|tool_call_end|>";
  }
  if (format == "minimax_m2") {
    return "<minimax:tool_call><invoke name=\"%\"><parameter name=\"%\">%</parameter></invoke>"
           "<invoke name=\"%\"></invoke></minimax:tool_call>";
  }
  if (format == "dots") {
    return "<dots_function_call><invoke name=\"%\"><parameter name=\"%\">\n%\n</parameter></invoke>"
           "</dots_function_call>";
  }
  if (format == "deepseek_v32") {
    return "<｜DSML｜function_calls><｜DSML｜invoke name=\"%\"><｜DSML｜parameter name=\"%\" "
           "string=\"true\">%</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜function_calls>";
  }
  if (format == "llama4_pythonic") return "<|python_start|>[%(%='%', %=[1, \"é%\"]), %()]";
  if (format == "lfm2") return "<|tool_call_start|>[%(%='%'), %()]<|tool_call_end|>";
  if (format == "hy_v3") {
    return "<tool_calls><tool_call>%<tool_sep><arg_key>%</arg_key><arg_value>%</arg_value>"
           "</tool_call><tool_call>%</tool_call></tool_calls>";
  }
  if (format == "minimax_m3") {
    return "]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"%\">]<]minimax[>[<a>%]<]minimax[>["
           "</a>]<]minimax[>[<b>]<]minimax[>[<item>%]<]minimax[>[</item>]<]minimax[>[</b>"
           "]<]minimax[>[</invoke>]<]minimax[>[</tool_call>";
  }
  if (format == "cohere_command4") {
    return "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"%\", \"parameters\": "
           "{\"%\": 1}}]<|END_ACTION|>";
  }
  if (format == "solar_open") {
    return "<|begin|>assistant<|tool_calls|><|tool_call:begin|>0<|tool_call:name|>%"
           "<|tool_call:args|>{\"%\": \"é\"}<|tool_call:end|>";
  }
  if (format == "inkling") {
    return "<|message_model|><|content_invoke_tool_json|>{\"name\": \"%\", \"args\": {\"%\": "
           "\"é\"}}<|end_message|>";
  }
  if (format == "olmo3") return "<function_calls>\n%(%='%')\n%()\n</function_calls>";
  if (format == "functiongemma") {
    return "<start_function_call>call:%{%:<escape>%<escape>,%:[1]}<end_function_call>";
  }
  if (format == "gemma4") {
    return "<|tool_call>call:%{%:<|\"|>%<|\"|>,%:[1,{%:true}]}<tool_call|>";
  }
  if (format == "seed_oss") {
    return "<seed:tool_call><function=%><parameter=%>%</parameter></function></seed:tool_call>";
  }
  if (format == "zaya_xml") {
    return "<zyphra_tool_call><function=%><parameter=%>%</parameter></function></zyphra_tool_call>";
  }
  const std::string call = "{\"name\": \"%\", \"arguments\": {\"%\": [\"é\", {}]}}";
  if (format == "hermes") return "<tool_call>" + call + "</tool_call>";
  if (format == "longcat") return "<longcat_tool_call>" + call + "</longcat_tool_call>";
  if (format == "hunyuan_a13b") return "<tool_calls>[" + call + ", " + call + "]</tool_calls>";
  if (format == "nemotron_json") return "<TOOLCALL>[" + call + ", " + call + "]</TOOLCALL>";
  if (format == "gigachat3") return "<|message_sep|>\n\nfunction call<|role_sep|>\n" + call;
  if (format == "granite") return "<|tool_call|>[" + call + "]";
  if (format == "phi4_mini_json") return "functools[" + call + "]";
  return "<|python_tag|>" + call + ";" + call;
}

std::vector<std::string> FragmentsOf(const OutputFormat& format) {
  std::vector<std::string> fragments(std::begin(kCommon), std::end(kCommon));
  for (const std::string_view marker : format.markers) {
    // Ids of calls are not told: we have our own. Nor are the headers of messages.
    if (marker == "[CALL_ID]" || marker == "<|tool_call:name|>") continue;
    if (marker == "<|content_invoke_tool_json|>") continue;  // behind a name that is told again
    for (int weight = 0; weight < 6; ++weight) fragments.emplace_back(marker);
    size_t cut = marker.size() - 1;
    while ((static_cast<unsigned char>(marker[cut]) & 0xC0) == 0x80) --cut;  // a whole character
    fragments.emplace_back(marker.substr(0, cut));
  }
  for (int weight = 0; weight < 4; ++weight) fragments.push_back(CallOf(format.name()));
  for (const char* more : {"<function=%>", "<parameter=%>", "</parameter>", "</function>",
                           "function", "%<arg_key>%</arg_key><arg_value>%</arg_value>"}) {
    fragments.emplace_back(more);
  }
  return fragments;
}

class Words {
 public:
  std::string Fill(const std::string& fragment) {
    std::string out;
    for (const char c : fragment) {
      if (c != '%') {
        out += c;
        continue;
      }
      words_.push_back(fmt::format("w{}w", words_.size()));
      out += words_.back();
    }
    return out;
  }
  const std::vector<std::string>& words() const { return words_; }

 private:
  std::vector<std::string> words_;
};

TEST(RandomOutput, NothingIsLostAndCutsDoNotMatter) {
  std::mt19937 random(7);
  for (const OutputFormat& format : ToolFormats()) {
    const std::vector<std::string> fragments = FragmentsOf(format);
    int with_calls = 0;
    for (int round = 0; round < 150; ++round) {
      Words words;
      std::string text;
      for (size_t n = 1 + random() % 24; n > 0; --n) {
        text += words.Fill(fragments[random() % fragments.size()]);
      }
      const ParseCase how{.tools = format.name(),
                          .reasoning = round % 2 == 0 ? "qwen3" : std::string_view(),
                          .opened = round % 4 == 0};
      const std::string line = ParseEveryWay(how, text);
      if (line.find('(') != std::string::npos) ++with_calls;
      if (format.harmony()) continue;  // its headers are markers, with words in them
      for (const std::string& word : words.words()) {
        EXPECT_NE(line.find(word), std::string::npos) << format.name() << ": " << text;
      }
      ASSERT_FALSE(HasFailure()) << format.name() << ": " << text;
    }
    EXPECT_GT(with_calls, 20) << format.name();
  }
}

TEST(RandomOutput, CharactersStayWhole) {
  std::mt19937 random(11);
  for (const OutputFormat& format : ToolFormats()) {
    const std::vector<std::string> fragments = FragmentsOf(format);
    for (int round = 0; round < 100; ++round) {
      Words words;
      const std::unique_ptr<OutputParser> parser =
          MakeOutputParser(RulesOf({.tools = format.name()}));
      OutputDeltas deltas;
      for (int n = 0; n < 20; ++n) {
        parser->Push(words.Fill(fragments[random() % fragments.size()]), &deltas);
      }
      parser->Finish(&deltas);
      for (const OutputDelta& delta : deltas.list()) {
        // Strict: an invalid byte would throw.
        EXPECT_NO_THROW(static_cast<void>(nlohmann::json(delta.text).dump())) << format.name();
      }
    }
  }
}

}  // namespace
}  // namespace folkmoot
