// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/formats.h"

#include <algorithm>
#include <optional>

#include "launch/api/output/described/response_template.h"
#include "runtime/tokenizer/tokenizer.h"

namespace folkmoot {
namespace {

const std::vector<std::string>& MuseMarkers() {
  static const std::vector<std::string> kMarkers = {"<|start|>", "<|message|>", "<|eom|>",
                                                    "<|eot|>"};
  return kMarkers;
}

const std::vector<std::string>& HarmonyMarkers() {
  static const std::vector<std::string> kMarkers = {"<|start|>",     "<|channel|>", "<|message|>",
                                                    "<|constrain|>", "<|end|>",     "<|call|>",
                                                    "<|return|>"};
  return kMarkers;
}

std::vector<AnswerFrame> CohereFrames() {
  return {{.begin = "<|START_TEXT|>", .end = "<|END_TEXT|>"},
          {.begin = "<|START_RESPONSE|>", .end = "<|END_RESPONSE|>"}};
}

std::vector<AnswerFrame> SolarFrames() {
  return {{.begin = "<|begin|>assistant<|content|>", .end = "<|end|>"},
          {.begin = "<|content|>", .end = "<|end|>"}};
}

std::vector<AnswerFrame> InklingFrames() {
  return {{.begin = "<|message_model|><|content_text|>", .end = "<|end_message|>"},
          {.begin = "<|content_text|>", .end = "<|end_message|>"}};
}

// The ending of a marker "<name>" among the tokens of a model; null: there is no such token.
std::optional<std::string> SuffixOf(const Tokenizer& tokenizer, std::string_view marker) {
  if (tokenizer.TokenToId(marker)) return "";
  const std::string stem = std::string(marker.substr(0, marker.size() - 1)) + ":";
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view token = tokenizer.IdToToken(static_cast<int32_t>(id));
    if (!token.starts_with(stem) || !token.ends_with(">")) continue;
    return std::string(token.substr(stem.size() - 1, token.size() - stem.size()));
  }
  return std::nullopt;
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
       .markers = HarmonyMarkers(),
       .make_parser = MakeHarmonyParser},
      {.names = {"muse", "muse_glimmer"},
       .signs = {"<|message|>", "<atem:invoke"},
       .foreign = {},
       .markers = MuseMarkers(),
       .make_parser = MakeMuseParser},
      {.names = {"hy_v3", "hy_v4"},
       .signs = {"<｜hy_", "<arg_key"},
       .foreign = {},
       .markers = {"<tool_calls>", "</tool_calls>", "<tool_call>", "</tool_call>", "<tool_sep>",
                   "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"},
       .make_syntax = MakeHunyuanSyntax,
       .takes_suffix = true},
      {.names = {"glm45", "glm47", "ling3", "poolside_v1"},
       .signs = {"<tool_call>", "<arg_key>"},
       .foreign = {},
       .markers = {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>",
                   "</arg_value>"},
       .make_syntax = MakeGlmSyntax},
      {.names = {"qwen3_coder", "qwen3_xml", "mimo", "step3p5"},
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
      {.names = {"minimax_m3"},
       .signs = {"]<]minimax[>["},
       .foreign = {},
       .markers = {"]<]minimax[>[", "<tool_call>", "</tool_call>"},
       .make_syntax = MakeMiniMaxM3Syntax},
      {.names = {"hermes", "granite4", "ernie45"},
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
      {.names = {"dots"},
       .signs = {"<dots_function_call>"},
       .foreign = {},
       .markers = {"<dots_function_call>", "</dots_function_call>"},
       .make_syntax = MakeDotsSyntax},
      {.names = {"longcat"},
       .signs = {"<longcat_tool_call>"},
       .foreign = {},
       .markers = {"<longcat_tool_call>", "</longcat_tool_call>", "<longcat_arg_key>",
                   "</longcat_arg_key>", "<longcat_arg_value>", "</longcat_arg_value>"},
       .make_syntax = MakeLongCatSyntax},
      {.names = {"cohere_command4", "cohere_command3"},
       .signs = {"<|START_ACTION|>", "tool_name"},
       .foreign = {},
       .markers = {"<|START_ACTION|>", "<|END_ACTION|>", "<|START_TEXT|>", "<|END_TEXT|>",
                   "<|START_RESPONSE|>", "<|END_RESPONSE|>"},
       .make_syntax = MakeCohereSyntax,
       .frames = CohereFrames()},
      {.names = {"solar_open"},
       .signs = {"<|tool_call:begin|>", "<|tool_call:args|>"},
       .foreign = {},
       .markers = {"<|begin|>", "<|tool_calls|>", "<|tool_call:begin|>", "<|tool_call:name|>",
                   "<|tool_call:args|>", "<|tool_call:end|>", "<|calls|>", "<|content|>",
                   "<|end|>"},
       .make_syntax = MakeSolarOpenSyntax,
       .frames = SolarFrames()},
      {.names = {"inkling"},
       .signs = {"<|message_model|>", "<|content_invoke_tool_json|>"},
       .foreign = {},
       .markers = {"<|message_model|>", "<|content_invoke_tool_json|>", "<|content_text|>",
                   "<|end_message|>"},
       .make_syntax = MakeInklingSyntax,
       .frames = InklingFrames()},
      {.names = {"gigachat3"},
       .signs = {"<|role_sep|>", "<|message_sep|>"},
       .foreign = {},
       .markers = {"<|role_sep|>", "<|message_sep|>", "<|function_call|>"},
       .make_syntax = MakeGigaChatSyntax},
      {.names = {"nemotron_json"},
       .signs = {"<TOOLCALL>"},
       .foreign = {},
       .markers = {"<TOOLCALL>", "</TOOLCALL>"},
       .make_syntax = MakeNemotronSyntax},
      {.names = {"olmo3"},
       .signs = {"<function_calls>"},
       .foreign = {"<invoke name="},
       .markers = {"<function_calls>", "</function_calls>"},
       .make_syntax = MakeOlmo3Syntax},
      {.names = {"functiongemma"},
       .signs = {"<start_function_call>"},
       .foreign = {},
       .markers = {"<start_function_call>", "<end_function_call>", "<escape>"},
       .make_syntax = MakeFunctionGemmaSyntax},
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
       .markers = HarmonyMarkers(),
       .make_parser = MakeHarmonyParser},
      {.names = {"muse", "muse_glimmer"},
       .signs = {"<|message|>", "to=self"},
       .foreign = {},
       .markers = MuseMarkers(),
       .make_parser = MakeMuseParser},
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
      {.names = {"cohere_command4", "cohere_command3"},
       .signs = {"<|START_THINKING|>"},
       .foreign = {},
       .markers = {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_TEXT|>", "<|END_TEXT|>",
                   "<|START_RESPONSE|>", "<|END_RESPONSE|>"},
       .begin = "<|START_THINKING|>",
       .end = "<|END_THINKING|>",
       .frames = CohereFrames()},
      {.names = {"solar_open"},
       .signs = {"<|think|>", "<|begin|>assistant"},
       .foreign = {},
       .markers = {"<|begin|>", "<|think|>", "<|content|>", "<|end|>"},
       .begin = "<|think|>",
       .end = "<|end|>",
       .frames = SolarFrames()},
      {.names = {"inkling"},
       .signs = {"<|message_model|>", "<|content_thinking|>"},
       .foreign = {},
       .markers = {"<|message_model|>", "<|content_thinking|>", "<|content_text|>",
                   "<|end_message|>"},
       .begin = "<|content_thinking|>",
       .end = "<|end_message|>",
       .frames = InklingFrames()},
      {.names = {"minimax_m3"},
       .signs = {"mm:think>"},
       .foreign = {},
       .markers = {"<mm:think>", "</mm:think>"},
       .begin = "<mm:think>",
       .end = "</mm:think>"},
      {.names = {"longcat"},
       .signs = {"<longcat_think>"},
       .foreign = {},
       .markers = {"<longcat_think>", "</longcat_think>"},
       .begin = "<longcat_think>",
       .end = "</longcat_think>"},
      {.names = {"hy_v3", "hy_v4"},
       .signs = {"<｜hy_", "</think"},
       .foreign = {},
       .markers = {"<think>", "</think>"},
       .begin = "<think>",
       .end = "</think>",
       .takes_suffix = true},
      {.names = {"hunyuan_a13b"},
       .signs = {"</think>", "<answer>"},
       .foreign = {},
       .markers = {"<think>", "</think>"},
       .begin = "<think>",
       .end = "</think>",
       .frames = {{.begin = "<answer>", .end = "</answer>", .lines = true}}},
      {.names = {"qwen3", "glm45", "glm47", "deepseek_v3", "deepseek_v31", "deepseek_v4", "dots",
                 "kimi_k2", "ling3", "mimo", "minimax_m2", "nemotron_v3", "olmo3", "poolside_v1",
                 "step3p5"},
       .signs = {"</think>"},
       .foreign = {},
       .markers = {"<think>", "</think>"},
       .begin = "<think>",
       .end = "</think>"},
      // Never detected: other templates show answers of tools in such a frame.
      {.names = {"ernie45"},
       .signs = {},
       .foreign = {},
       .markers = {"<think>", "</think>", "<response>", "</response>"},
       .begin = "<think>",
       .end = "</think>",
       .frames = {{.begin = "<response>", .end = "</response>", .lines = true}}},
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

OutputFormat WithSuffix(const OutputFormat& format, const Tokenizer& tokenizer) {
  std::optional<std::string> suffix;
  for (const std::string& marker : format.markers) {
    if (!suffix) suffix = SuffixOf(tokenizer, marker);
  }
  return WithSuffix(format, suffix.value_or(""));
}

OutputFormat WithSuffix(OutputFormat format, std::string_view suffix) {
  format.suffix = suffix;
  const auto extend = [&](std::string* marker) {
    if (!marker->empty()) marker->insert(marker->size() - 1, suffix);
  };
  for (std::string& marker : format.markers) extend(&marker);
  extend(&format.begin);
  extend(&format.end);
  return format;
}

OutputFormat DescribedFormat(std::shared_ptr<const ResponseTemplate> response,
                             const Tokenizer* tokenizer) {
  OutputFormat format{.names = {kResponseTemplate},
                      .signs = {},
                      .foreign = {},
                      .markers = {},
                      .make_parser = MakeResponseParser};
  for (int64_t i = 0; tokenizer != nullptr && i < tokenizer->vocab_size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (!tokenizer->IsSpecial(id)) continue;
    const std::string token(tokenizer->IdToToken(id));
    if (response->Mentions(token)) format.markers.push_back(token);
  }
  format.response = std::move(response);
  return format;
}

std::vector<std::string> FormatNames(std::span<const OutputFormat> formats) {
  std::vector<std::string> names = {"auto", "none", std::string(kResponseTemplate)};
  for (const OutputFormat& format : formats) {
    names.insert(names.end(), format.names.begin(), format.names.end());
  }
  return names;
}

}  // namespace folkmoot
