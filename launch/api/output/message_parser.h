// SPDX-License-Identifier: Apache-2.0
// Texts that are a list of messages, each with a header that says for whom it is: harmony.cc and
// muse.cc. The prompt ends with "<|start|>assistant", so that the first header begins a text.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "launch/api/output/output_parser.h"

namespace folkmoot {

class MessageParser : public OutputParser {
 public:
  void Push(std::string_view piece, OutputDeltas* out) override;
  void Finish(OutputDeltas* out) override { Run(/*last=*/true, out); }

 protected:
  enum class To : uint8_t { kNobody, kContent, kReasoning, kTool };

  struct Marker {
    size_t at = std::string_view::npos;
    size_t size = 0;
    size_t held = 0;  // bytes at the end of the text that may become one
  };

  // What a header may begin with (other text is a body without a header), and what ends a body
  // beside the start of the next message. They must outlive the parser.
  MessageParser(std::span<const std::string_view> heads, std::span<const std::string_view> ends)
      : heads_(heads), ends_(ends) {}

  // For whom a message with this header is.
  virtual To Begin(std::string_view header, OutputDeltas* out) = 0;
  // Text of a message to a tool, and its end; `empty`: it had no text.
  virtual void ToolText(std::string_view text, OutputDeltas* out) = 0;
  virtual void EndTool(bool empty, OutputDeltas* out) = 0;
  // A header in a body that was not ended before, as some models write.
  virtual Marker BareHeader(std::string_view /*text*/) const { return {}; }

 private:
  enum class State : uint8_t { kHeader, kBody, kBetween };

  void Run(bool last, OutputDeltas* out);
  // Each does what the text at hand allows. False: nothing more until more text comes.
  bool ReadHeader(bool last, OutputDeltas* out);
  bool ReadBody(bool last, OutputDeltas* out);
  bool ReadBetween(bool last);
  Marker FindEnd(std::string_view text) const;
  void BeginBody(To to);
  void Emit(std::string_view text, OutputDeltas* out);

  const std::span<const std::string_view> heads_, ends_;
  State state_ = State::kHeader;
  To to_ = To::kNobody;
  To last_to_ = To::kNobody;  // of the last message that had text
  bool fresh_ = true;         // nothing of this message was told
  std::string buffer_;
};

}  // namespace folkmoot
