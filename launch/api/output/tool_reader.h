// SPDX-License-Identifier: Apache-2.0
// Finds the calls in a text, by the syntax of a format.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "launch/api/output/call_syntax.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {

// A call is told as soon as its name and the beginning of its arguments are read, and its arguments
// as they come. What looks like a call and is none, is content. Arguments that turn out to be no
// JSON stay what the model wrote, up to the end of the call: a name that was told cannot be taken
// back.
class ToolReader {
 public:
  explicit ToolReader(std::unique_ptr<CallSyntax> syntax);

  void Push(std::string_view piece, OutputDeltas* out);
  void Finish(OutputDeltas* out);

 private:
  enum class State : uint8_t { kText, kHead, kArguments, kBroken, kTail };

  void Run(bool last, OutputDeltas* out);
  // Each does what the text at hand allows. False: nothing more until more text comes.
  bool ReadText(bool last, OutputDeltas* out);
  bool ReadHead(bool last, OutputDeltas* out);
  bool ReadArguments(bool last, OutputDeltas* out);
  bool ReadBroken(bool last, OutputDeltas* out);
  bool ReadTail(bool last);
  void EmitText(std::string_view text, OutputDeltas* out);

  std::unique_ptr<CallSyntax> syntax_;
  State state_ = State::kText;
  std::string buffer_;       // what is not used up
  std::string marker_;       // of the call that may begin in the buffer; text if it is none
  bool after_call_ = false;  // only white space since the last call
  int calls_ = 0;
};

}  // namespace folkmoot
