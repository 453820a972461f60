// SPDX-License-Identifier: Apache-2.0
// OpenAI's harmony format (gpt-oss):
//   <|channel|>analysis<|message|>...<|end|>                        reasoning
//   <|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>
//   {"city": "Paris"}<|call|>                                       a tool call
//   <|start|>assistant<|channel|>final<|message|>...<|return|>      content
#include <array>

#include "launch/api/output/formats.h"
#include "launch/api/output/message_parser.h"

namespace folkmoot {
namespace {

constexpr std::string_view kChannel = "<|channel|>";
constexpr std::string_view kFunctions = "to=functions.";
constexpr std::array<std::string_view, 4> kHeads = {kChannel, "<|message|>", "<|constrain|>",
                                                    "to="};
constexpr std::array<std::string_view, 3> kEnds = {"<|end|>", "<|call|>", "<|return|>"};

// The word behind `key`, up to white space or a marker.
std::string_view WordBehind(std::string_view text, std::string_view key) {
  const size_t found = text.find(key);
  if (found == std::string_view::npos) return {};
  text.remove_prefix(found + key.size());
  return text.substr(0, text.find_first_of(" \n\t\r<"));
}

class HarmonyParser : public MessageParser {
 public:
  // `tools`: messages to functions are calls; else they are content.
  explicit HarmonyParser(bool tools) : MessageParser(kHeads, kEnds), tools_(tools) {}

 private:
  To Begin(std::string_view header, OutputDeltas* out) override {
    const std::string_view function = WordBehind(header, kFunctions);
    if (!function.empty() && tools_) {
      out->ToolName(calls_++, function);
      return To::kTool;
    }
    return WordBehind(header, kChannel) == "analysis" ? To::kReasoning : To::kContent;
  }
  void ToolText(std::string_view text, OutputDeltas* out) override {
    out->ToolArguments(calls_ - 1, text);
  }
  void EndTool(bool empty, OutputDeltas* out) override {
    if (empty) out->ToolArguments(calls_ - 1, "{}");
  }

  const bool tools_;
  int calls_ = 0;
};

}  // namespace

std::unique_ptr<OutputParser> MakeHarmonyParser(const OutputRules& rules) {
  return std::make_unique<HarmonyParser>(rules.choice == ToolChoice::kAuto);
}

}  // namespace folkmoot
