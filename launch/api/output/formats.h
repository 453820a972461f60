// SPDX-License-Identifier: Apache-2.0
// The formats of tool calls and of reasoning that are read, by vLLM's names: explicit lists. A new
// one is a file in this folder and a row here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/output/answer_frame.h"
#include "launch/api/output/call_syntax.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {

class ResponseTemplate;
class Tokenizer;

// The name of the format that a model describes itself; it is in no list.
inline constexpr std::string_view kResponseTemplate = "response_template";

struct OutputFormat {
  std::vector<std::string_view> names;    // of the flag; the first is the one that we say
  std::vector<std::string_view> signs;    // of a chat template that speaks it: all of these,
  std::vector<std::string_view> foreign;  // and none of these
  std::vector<std::string> markers;       // that may be special tokens: they are shown to parsers
  // Texts that are a list of messages have a parser of their own for calls, reasoning and content.
  std::unique_ptr<OutputParser> (*make_parser)(const OutputRules& rules) = nullptr;
  std::unique_ptr<CallSyntax> (*make_syntax)(const OutputRules& rules) = nullptr;  // tools
  std::string begin = {}, end = {};      // reasoning stands between these
  bool always_opens = false;             // the text begins inside, unless the prompt has ended it
  std::vector<AnswerFrame> frames = {};  // what may stand around the answer, behind the reasoning
  // The markers have an ending in the tokens of a checkpoint, <think:6124c78e> for <think>: see
  // WithSuffix.
  bool takes_suffix = false;
  std::string suffix = {};
  // Of the format that a model describes itself.
  std::shared_ptr<const ResponseTemplate> response = nullptr;

  std::string_view name() const { return names.front(); }
};

std::unique_ptr<OutputParser> MakeHarmonyParser(const OutputRules& rules);
std::unique_ptr<OutputParser> MakeMuseParser(const OutputRules& rules);
std::unique_ptr<OutputParser> MakeResponseParser(const OutputRules& rules);

std::span<const OutputFormat> ToolFormats();
std::span<const OutputFormat> ReasoningFormats();

// By name. Null: no such format.
const OutputFormat* FindFormat(std::span<const OutputFormat> formats, std::string_view name);
// The first whose signs a chat template has. Null: none.
const OutputFormat* DetectFormat(std::span<const OutputFormat> formats,
                                 std::string_view chat_template);
// A format that takes one, with the ending that its markers have among the tokens of a model (":"
// and letters; none, if they have none).
OutputFormat WithSuffix(const OutputFormat& format, const Tokenizer& tokenizer);
OutputFormat WithSuffix(OutputFormat format, std::string_view suffix);
// The format that a model describes itself, with the special tokens that it names as markers.
OutputFormat DescribedFormat(std::shared_ptr<const ResponseTemplate> response,
                             const Tokenizer* tokenizer);
// "auto, none, response_template, hermes, ...": what a flag may say.
std::vector<std::string> FormatNames(std::span<const OutputFormat> formats);

}  // namespace folkmoot
