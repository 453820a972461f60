// SPDX-License-Identifier: Apache-2.0
// Which format a published chat template speaks.
#include "launch/api/output/formats.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

namespace folkmoot {
namespace {

std::string Template(const std::string& name) {
  std::ifstream file(std::string(FOLKMOOT_TEST_DATA) + "/chat_templates/" + name + ".jinja");
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string NameOf(const OutputFormat* format) {
  return format == nullptr ? "" : std::string(format->name());
}

TEST(Formats, OfPublishedTemplates) {
  struct Case {
    const char* name;
    const char* tools;
    const char* reasoning;
  };
  const Case cases[] = {
      {"llama.cpp-openai-gpt-oss-120b", "openai", "openai_gptoss"},
      {"llama.cpp-GLM-4.6", "glm45", "qwen3"},
      {"llama.cpp-GLM-4.7-Flash", "glm45", "qwen3"},
      {"trl-glm4moe", "glm45", "qwen3"},
      {"llama.cpp-Qwen3-Coder", "qwen3_coder", ""},
      {"llama.cpp-Qwen3.5-4B", "qwen3_coder", "qwen3"},
      {"llama.cpp-Qwen-Qwen3-0.6B", "hermes", "qwen3"},
      {"llama.cpp-Qwen-Qwen2.5-7B-Instruct", "hermes", ""},
      {"llama.cpp-Qwen-QwQ-32B", "hermes", "qwen3"},
      {"trl-qwen3_instruct_2507", "hermes", ""},
      {"llama.cpp-ibm-granite-granite-4.0", "hermes", ""},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.1", "deepseek_v3", "qwen3"},
      {"llama.cpp-llama-cpp-deepseek-r1", "deepseek_v3", "qwen3"},
      {"llama.cpp-mistralai-Mistral-Nemo-Instruct-2407", "mistral", ""},
      {"llama.cpp-Mistral-Small-3.2-24B-Instruct-2506", "mistral", ""},
      {"llama.cpp-unsloth-mistral-Devstral-Small-2507", "mistral", ""},
      {"llama.cpp-mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "mistral"},
      {"llama.cpp-deepseek-ai-DeepSeek-V3.2", "deepseek_v32", "qwen3"},
      {"llama.cpp-deepseek-ai-DeepSeek-V4", "deepseek_v32", "qwen3"},
      {"llama.cpp-MiniMax-M2", "minimax_m2", "qwen3"},
      {"llama.cpp-MiniMax-M1", "hunyuan_a13b", ""},
      {"llama.cpp-unsloth-Apriel-1.5", "hunyuan_a13b", ""},
      {"llama.cpp-ibm-granite-granite-3.3-2B-Instruct", "granite", "qwen3"},
      {"llama.cpp-ByteDance-Seed-OSS", "seed_oss", "seed_oss"},
      {"llama.cpp-GigaChat3-10B-A1.8B", "gigachat3", ""},
      {"llama.cpp-GigaChat3.1-10B-A1.8B", "gigachat3", ""},
      // Formats that nobody here reads.
      {"llama.cpp-meetkai-functionary-medium-v3.2", "", ""},
      {"trl-phi3", "", ""},
  };
  for (const Case& one : cases) {
    const std::string source = Template(one.name);
    EXPECT_EQ(NameOf(DetectFormat(ToolFormats(), source)), one.tools) << one.name;
    EXPECT_EQ(NameOf(DetectFormat(ReasoningFormats(), source)), one.reasoning) << one.name;
  }
  // Llama's own templates, whose licence keeps them out of this repository, say this.
  EXPECT_EQ(NameOf(DetectFormat(ToolFormats(),
                                "Respond in the format {\"name\": function name, \"parameters\": "
                                "dictionary of argument name and its value}.")),
            "llama3_json");
}

// From templates that are not in this repository: what shows the model how to write its calls.
TEST(Formats, OfOtherTemplates) {
  const std::pair<std::string_view, std::string_view> fragments[] = {
      // Kimi-K2
      {"{{ '<|tool_calls_section_begin|>' }}{% for call in message.tool_calls %}{{ "
       "'<|tool_call_begin|>' + call.id + '<|tool_call_argument_begin|>' + "
       "call['function']['arguments'] + '<|tool_call_end|>' }}{% endfor %}",
       "kimi_k2"},
      // LongCat-Flash
      {"<longcat_tool_call>{function-name}\n<longcat_arg_key>{arg-key}</longcat_arg_key>\n"
       "<longcat_arg_value>{arg-value}</longcat_arg_value>\n</longcat_tool_call>{{ arguments }}",
       "longcat"},
      // Hunyuan-A13B
      {"<tool_calls>[{\"name\": function, \"arguments\": ...}]</tool_calls><tool_call>",
       "hunyuan_a13b"},
      // Pythonic calls, as Llama 3.2 and 4 may be asked for them
      {"you MUST put it in the format of [func_name1(params_name1=params_value1), func_name2()]",
       "llama4_pythonic"},
      // LFM2, which does not show its calls, and LFM2.5
      {"{%- set ns.system_prompt = ns.system_prompt + \"List of tools: <|tool_list_start|>[\" -%}"
       "{{- \"<|im_start|>\" + message[\"role\"] -}}",
       "lfm2"},
      {"{{ \"List of tools: \" + (tools | tojson) }}{{ \"<|im_start|>\" }}{{- "
       "\"<|tool_call_start|>[\" + (calls | join(\", \")) + \"]<|tool_call_end|>\" -}}",
       "lfm2"},
      // ZAYA1
      {"<zyphra_tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\n"
       "value_1\n</parameter>\n</function>\n</zyphra_tool_call>",
       "zaya_xml"},
      // Gemma 4
      {"{{- '<|tool_call>call:' + function['name'] + '{' -}}{%- for key, value in arguments -%}",
       "gemma4"},
      // MiniMax-M3
      {"{% set ns = ']<]minimax[>[' %}{% set begin = ns ~ '<tool_call>' %}<invoke name=\"{{ "
       "tool_call.name }}\">{% set _args = tool_call.arguments %}</invoke>",
       "minimax_m3"},
      // dots3.note
      {"<dots_function_call>\n<invoke name=\"$FUNCTION_NAME\">\n<parameter "
       "name=\"$PARAMETER_NAME\">",
       "dots"},
      // Hunyuan 3 and 4, whose markers may get an ending
      {"{%- set user_token = '<｜hy_User｜>' %}{%- set toolcall_begin_token = '<tool_call>' %}"
       "{%- set argkey_begin_token = '<arg_key>' %}{{ tool['function']['arguments'] }}",
       "hy_v3"},
      {"{%- set HYTK = ':opensource' %}{%- set user_token = '<｜hy_User{}｜>'.format(HYTK) %}"
       "{%- set argkey_begin_token = '<arg_key{}>'.format(HYTK) %}",
       "hy_v3"},
      // Cohere's Command and North
      {"<|START_ACTION|>[{\"tool_call_id\": \"{{ i }}\", \"tool_name\": \"{{ "
       "tc['function']['name'] "
       "}}\", \"parameters\": {{ tc['function']['arguments']|tojson }}}]<|END_ACTION|>",
       "cohere_command4"},
      // Nemotron Nano 2
      {"{{- '<TOOLCALL>[{{\"name\": \"tool_name1\", \"arguments\": \"tool_args1\"}}, ' -}}",
       "nemotron_json"},
      // OLMo 3
      {"respond with a pythonic function call wrapped in <function_calls></function_calls> XML "
       "tags",
       "olmo3"},
      // FunctionGemma
      {"{{- '<start_function_call>call:' + function['name'] + '{' -}}", "functiongemma"},
      // Solar Open
      {"{{- '<|tool_call:begin|>' + tool_call.id + '<|tool_call:name|>' + tool_call.function.name "
       "+ "
       "'<|tool_call:args|>' }}",
       "solar_open"},
      // Inkling
      {"{{- '<|message_model|>' + name + '<|content_invoke_tool_json|>' + call | tojson }}",
       "inkling"},
  };
  for (const auto& [fragment, tools] : fragments) {
    EXPECT_EQ(NameOf(DetectFormat(ToolFormats(), fragment)), tools) << fragment;
  }
}

TEST(Formats, OfReasoning) {
  const std::pair<std::string_view, std::string_view> fragments[] = {
      {"{%- set user_token = '<｜hy_User{}｜>'.format(HYTK) %}'</think{}>'.format(HYTK)", "hy_v3"},
      {"{%- set think_end = '</mm:think>' %}", "minimax_m3"},
      {"{{ '<longcat_think>' }}", "longcat"},
      {"<|CHATBOT_TOKEN|><|START_THINKING|>", "cohere_command4"},
      {"{{- '<|begin|>assistant<|think|><|end|>' }}", "solar_open"},
      {"{{- '<|message_model|><|content_thinking|>' + reasoning_content }}", "inkling"},
      {"{%- if '<answer>' in content %}{%- set content = content.split('</think>')[-1] %}",
       "hunyuan_a13b"},
      {"{{ '<think>' + reasoning_content + '</think>' }}", "qwen3"},
  };
  for (const auto& [fragment, reasoning] : fragments) {
    EXPECT_EQ(NameOf(DetectFormat(ReasoningFormats(), fragment)), reasoning) << fragment;
  }
}

TEST(Formats, NamesAreVllmsAndUnique) {
  for (const std::span<const OutputFormat> formats : {ToolFormats(), ReasoningFormats()}) {
    const std::vector<std::string> names = FormatNames(formats);
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
    for (const OutputFormat& format : formats) {
      for (const std::string_view name : format.names)
        EXPECT_EQ(FindFormat(formats, name), &format);
    }
  }
  EXPECT_EQ(FindFormat(ToolFormats(), "none"), nullptr);
  EXPECT_EQ(FindFormat(ToolFormats(), "auto"), nullptr);
}

}  // namespace
}  // namespace folkmoot
