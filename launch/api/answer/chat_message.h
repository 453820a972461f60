// SPDX-License-Identifier: Apache-2.0
// The message of a chat's answer: content, reasoning and tool calls out of a choice's text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch/api/answer/generation_state.h"
#include "launch/api/output/json_extent.h"
#include "launch/api/output/output_parser.h"
#include "nlohmann/json_fwd.hpp"

namespace folkmoot {

// Nine letters and digits: what Mistral's templates insist on, and enough for everybody else. The
// same request gives the same ids; other prompts, choices and calls give others.
std::string ToolCallId(const GenerationState& state, const ChoiceState& choice, int tool);

// Reads the text of one choice, at once or in pieces. `state` and `choice` as of the call.
class ChatMessage {
 public:
  explicit ChatMessage(const OutputRules& rules) : parser_(MakeOutputParser(rules)) {}

  // The next piece of the text as the "delta" of an event; `last`: the text has ended.
  std::string Delta(const GenerationState& state, const ChoiceState& choice, std::string_view text,
                    bool last);
  // The whole text as a "message"; `echo` comes in front of the content.
  nlohmann::ordered_json Whole(const GenerationState& state, const ChoiceState& choice,
                               const std::string& echo);

  // Whether the end of the text is the end of tool calls (not of a function that was named).
  bool ends_with_calls(const OutputRules& rules) const {
    return calls_ > 0 && rules.choice != ToolChoice::kNamed;
  }
  // Whether the arguments of the last call end where an object does.
  bool last_call_complete() const { return complete_; }

 private:
  OutputDeltas Read(std::string_view text, bool last);

  void Follow(const OutputDelta& delta);

  std::unique_ptr<OutputParser> parser_;
  int calls_ = 0;
  JsonExtent arguments_;  // of the last call
  bool complete_ = false;
};

}  // namespace folkmoot
