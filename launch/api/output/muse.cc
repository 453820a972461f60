// SPDX-License-Identifier: Apache-2.0
// Muse (Spark, Glimmer):
//   to=self<|message|>...<|eom|>                                    reasoning
//   <|start|>assistant to=get_weather<|message|><atem:function_calls>
//   <atem:invoke name="get_weather">
//   <atem:parameter name="city">Paris</atem:parameter>
//   </atem:invoke>
//   </atem:function_calls><|eom|>                                   a tool call
//   <|start|>assistant to=user<|message|>...<|eot|>                 content
// A message to nobody is reasoning, too, one to "commentary" content, and one to "developer" for
// nobody here. Between reasoning and a call the end of a message and its start may be missing.
#include <array>
#include <optional>

#include "launch/api/output/formats.h"
#include "launch/api/output/message_parser.h"
#include "launch/api/output/tool_reader.h"

namespace folkmoot {
namespace {

constexpr std::string_view kTo = "to=";
constexpr std::string_view kMessage = "<|message|>";
constexpr std::array<std::string_view, 2> kHeads = {kTo, kMessage};
constexpr std::array<std::string_view, 2> kEnds = {"<|eom|>", "<|eot|>"};

class MuseParser : public MessageParser {
 public:
  explicit MuseParser(const OutputRules& rules)
      : MessageParser(kHeads, kEnds), rules_(rules), tools_(rules.choice == ToolChoice::kAuto) {}

 private:
  To Begin(std::string_view header, OutputDeltas*) override {
    const size_t found = header.find(kTo);
    if (found == std::string_view::npos) return To::kReasoning;
    header.remove_prefix(found + kTo.size());
    const std::string_view reader = header.substr(0, header.find_first_of(" \n\t\r<"));
    if (reader == "self") return To::kReasoning;
    if (reader == "developer") return To::kNobody;
    if (reader == "user" || reader == "commentary" || !tools_) return To::kContent;
    reader_.emplace(MakeAtemSyntax(rules_));
    begun_ = false;
    return To::kTool;
  }

  // Calls are numbered through all messages. What is no call in a message to a tool is content.
  void Pass(const OutputDeltas& read, OutputDeltas* out) {
    int calls = 0;
    for (OutputDelta delta : read.list()) {
      if (delta.kind == OutputDelta::Kind::kToolName) ++calls;
      if (delta.tool >= 0) delta.tool += before_;
      out->Add(delta);
    }
    calls_ += calls;
  }
  void ToolText(std::string_view text, OutputDeltas* out) override {
    if (!begun_) text.remove_prefix(SkipSpace(text, 0));  // in front of the call: nobody's
    begun_ = begun_ || !text.empty();
    OutputDeltas read;
    reader_->Push(text, &read);
    Pass(read, out);
  }
  void EndTool(bool /*empty*/, OutputDeltas* out) override {
    OutputDeltas read;
    reader_->Finish(&read);
    Pass(read, out);
    before_ = calls_;
  }

  // " to=NAME<|message|>", or the marker alone.
  Marker BareHeader(std::string_view text) const override {
    constexpr std::string_view kSpace = " \t\n\r";
    const size_t found = text.find(kMessage);
    const std::string_view before = text.substr(0, found);
    const size_t space = before.find_last_of(kSpace);
    if (found == std::string_view::npos) {
      Marker none = {.held = PartialMarker(text, kMessage)};
      if (space == std::string_view::npos) return none;
      const std::string_view word = text.substr(space + 1);
      if (word.size() > kMaxToolName) return none;
      if (word.starts_with(kTo) || kTo.starts_with(word)) none.held = text.size() - space;
      return none;
    }
    if (space != std::string_view::npos && before.substr(space + 1).starts_with(kTo)) {
      return {.at = space};
    }
    return {.at = found};
  }

  const OutputRules rules_;
  const bool tools_;
  std::optional<ToolReader> reader_;  // of the message to a tool
  bool begun_ = false;                // it had more than white space
  int calls_ = 0, before_ = 0;        // all; those of earlier messages
};

}  // namespace

std::unique_ptr<OutputParser> MakeMuseParser(const OutputRules& rules) {
  return std::make_unique<MuseParser>(rules);
}

}  // namespace folkmoot
