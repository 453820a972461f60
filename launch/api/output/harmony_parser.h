// SPDX-License-Identifier: Apache-2.0
// OpenAI's harmony format (gpt-oss): a text is a list of messages, each for a channel.
//   <|channel|>analysis<|message|>...<|end|>                        reasoning
//   <|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>
//   {"city": "Paris"}<|call|>                                       a tool call
//   <|start|>assistant<|channel|>final<|message|>...<|return|>      content
// The first header begins behind "<|start|>assistant", which the prompt ends with.
#pragma once

#include <string>
#include <string_view>

#include "launch/api/output/output_parser.h"

namespace folkmoot {

class HarmonyParser : public OutputParser {
 public:
  // `tools`: messages to functions are calls; else they are content.
  explicit HarmonyParser(bool tools) : tools_(tools) {}

  void Push(std::string_view piece, OutputDeltas* out) override;
  void Finish(OutputDeltas* out) override { Run(/*last=*/true, out); }

 private:
  enum class State : uint8_t { kHeader, kBody, kBetween };
  enum class To : uint8_t { kNobody, kContent, kReasoning, kTool };

  void Run(bool last, OutputDeltas* out);
  // Each does what the text at hand allows. False: nothing more until more text comes.
  bool ReadHeader(bool last, OutputDeltas* out);
  bool ReadBody(bool last, OutputDeltas* out);
  bool ReadBetween(bool last);
  void Begin(std::string_view header, OutputDeltas* out);
  void Emit(std::string_view text, OutputDeltas* out);

  const bool tools_;
  State state_ = State::kHeader;
  To to_ = To::kNobody;
  To last_to_ = To::kNobody;  // of the last message that had text
  bool fresh_ = true;         // nothing of this message was told
  std::string buffer_;
  int calls_ = 0;
};

}  // namespace folkmoot
