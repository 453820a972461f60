// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/formats.h"

#include <algorithm>

namespace folkmoot {
namespace {

const std::vector<std::string_view>& HarmonyMarkers() {
  static const std::vector<std::string_view> kMarkers = {
      "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>",
      "<|end|>",   "<|call|>",    "<|return|>"};
  return kMarkers;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

// In the order of detection: formats that share a marker come from the special to the general.
std::span<const OutputFormat> ToolFormats() {
  static const std::vector<OutputFormat> kFormats = {
      {.names = {"openai"},
       .signs = {"<|channel|>", "<|message|>"},
       .foreign = {},
       .markers = HarmonyMarkers()},
      {.names = {"glm45", "glm47"},
       .signs = {"<tool_call>", "<arg_key>"},
       .foreign = {},
       .markers = {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>",
                   "</arg_value>"},
       .make_syntax = MakeGlmSyntax},
      {.names = {"qwen3_coder", "qwen3_xml"},
       .signs = {"<tool_call>", "<function="},
       .foreign = {},
       .markers = {"<tool_call>", "</tool_call>"},
       .make_syntax = MakeQwenCoderSyntax},
      {.names = {"seed_oss"},
       .signs = {"<seed:tool_call>", "<function="},
       .foreign = {},
       .markers = {"<seed:tool_call>", "</seed:tool_call>"},
       .make_syntax = MakeSeedSyntax},
      {.names = {"zaya_xml"},
       .signs = {"<zyphra_tool_call>", "<function="},
       .foreign = {},
       .markers = {"<zyphra_tool_call>", "</zyphra_tool_call>"},
       .make_syntax = MakeZayaSyntax},
      {.names = {"hermes"},
       .signs = {"<tool_call>", "arguments"},
       .foreign = {"<tool_calls>", "<invoke name=", "<longcat_tool_call>"},
       .markers = {"<tool_call>", "</tool_call>"},
       .make_syntax = MakeHermesSyntax},
      {.names = {"deepseek_v3", "deepseek_v31"},
       .signs = {"<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"},
       .foreign = {},
       .markers = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
                   "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"},
       .make_syntax = MakeDeepSeekSyntax},
      {.names = {"deepseek_v32", "deepseek_v4"},
       .signs = {"｜DSML｜", "invoke name="},
       .foreign = {},
       .markers = {"｜DSML｜"},
       .make_syntax = MakeDsmlSyntax},
      {.names = {"kimi_k2"},
       .signs = {"<|tool_call_begin|>", "<|tool_call_argument_begin|>"},
       .foreign = {},
       .markers = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
                   "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"},
       .make_syntax = MakeKimiSyntax},
      {.names = {"minimax_m2"},
       .signs = {"<minimax:tool_call>", "<invoke name="},
       .foreign = {},
       .markers = {"<minimax:tool_call>", "</minimax:tool_call>"},
       .make_syntax = MakeMiniMaxSyntax},
      {.names = {"longcat"},
       .signs = {"<longcat_tool_call>"},
       .foreign = {},
       .markers = {"<longcat_tool_call>", "</longcat_tool_call>", "<longcat_arg_key>",
                   "</longcat_arg_key>", "<longcat_arg_value>", "</longcat_arg_value>"},
       .make_syntax = MakeLongCatSyntax},
      {.names = {"gemma4"},
       .signs = {"<|tool_call>call:"},
       .foreign = {},
       .markers = {"<|tool_call>", "<tool_call|>", "<|\"|>"},
       .make_syntax = MakeGemma4Syntax},
      {.names = {"lfm2"},
       .signs = {"<|im_start|>", "List of tools: "},
       .foreign = {"<tool_call>"},
       .markers = {"<|tool_call_start|>", "<|tool_call_end|>"},
       .make_syntax = MakeLfm2Syntax},
      {.names = {"hunyuan_a13b", "jamba", "minimax"},
       .signs = {"<tool_calls>", "arguments"},
       .foreign = {},
       .markers = {"<tool_calls>", "</tool_calls>"},
       .make_syntax = MakeCallListSyntax},
      {.names = {"granite"},
       .signs = {"<|tool_call|> followed by a JSON list"},
       .foreign = {},
       .markers = {"<|tool_call|>"},
       .make_syntax = MakeGraniteSyntax},
      // Never detected: its template does not show how calls are written.
      {.names = {"phi4_mini_json"},
       .signs = {},
       .foreign = {},
       .markers = {},
       .make_syntax = MakePhiSyntax},
      {.names = {"mistral"},
       .signs = {"[TOOL_CALLS]"},
       .foreign = {},
       .markers = {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"},
       .make_syntax = MakeMistralSyntax},
      {.names = {"llama3_json", "llama4_json"},
       .signs = {"\"parameters\": dictionary of argument name"},
       .foreign = {},
       .markers = {"<|python_tag|>"},
       .make_syntax = MakeLlamaSyntax},
      {.names = {"llama4_pythonic", "pythonic"},
       .signs = {"[func_name1(params_name1=params_value1"},
       .foreign = {},
       .markers = {"<|python_start|>", "<|python_end|>"},
       .make_syntax = MakePythonicSyntax},
  };
  return kFormats;
}

std::span<const OutputFormat> ReasoningFormats() {
  static const std::vector<OutputFormat> kFormats = {
      {.names = {"openai_gptoss"},
       .signs = {"<|channel|>", "<|message|>"},
       .foreign = {},
       .markers = HarmonyMarkers()},
      {.names = {"mistral"},
       .signs = {"[THINK]", "[/THINK]"},
       .foreign = {},
       .markers = {"[THINK]", "[/THINK]"},
       .begin = "[THINK]",
       .end = "[/THINK]"},
      {.names = {"gemma4"},
       .signs = {"<|channel>thought"},
       .foreign = {},
       .markers = {"<|channel>", "<channel|>"},
       .begin = "<|channel>thought\n",
       .end = "<channel|>"},
      {.names = {"seed_oss"},
       .signs = {"<seed:think>", "</seed:think>"},
       .foreign = {},
       .markers = {"<seed:think>", "</seed:think>"},
       .begin = "<seed:think>",
       .end = "</seed:think>"},
      {.names = {"qwen3", "glm45", "deepseek_v3", "deepseek_v31"},
       .signs = {"</think>"},
       .foreign = {},
       .markers = {"<think>", "</think>"},
       .begin = "<think>",
       .end = "</think>"},
      // Never detected: that a model opens its reasoning without saying so is nothing a template
      // shows.
      {.names = {"deepseek_r1"},
       .signs = {},
       .foreign = {},
       .markers = {"<think>", "</think>"},
       .begin = "<think>",
       .end = "</think>",
       .always_opens = true},
  };
  return kFormats;
}

const OutputFormat* FindFormat(std::span<const OutputFormat> formats, std::string_view name) {
  for (const OutputFormat& format : formats) {
    if (std::find(format.names.begin(), format.names.end(), name) != format.names.end()) {
      return &format;
    }
  }
  return nullptr;
}

const OutputFormat* DetectFormat(std::span<const OutputFormat> formats,
                                 std::string_view chat_template) {
  const auto has = [&](std::string_view part) { return Has(chat_template, part); };
  for (const OutputFormat& format : formats) {
    if (format.signs.empty()) continue;
    if (std::all_of(format.signs.begin(), format.signs.end(), has) &&
        std::none_of(format.foreign.begin(), format.foreign.end(), has)) {
      return &format;
    }
  }
  return nullptr;
}

std::vector<std::string> FormatNames(std::span<const OutputFormat> formats) {
  std::vector<std::string> names = {"auto", "none"};
  for (const OutputFormat& format : formats) {
    names.insert(names.end(), format.names.begin(), format.names.end());
  }
  return names;
}

}  // namespace folkmoot
