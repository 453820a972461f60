// SPDX-License-Identifier: Apache-2.0
// Splits reasoning between two markers off the beginning of a text.
#pragma once

#include <string>
#include <string_view>

#include "launch/api/output/output_parser.h"

namespace folkmoot {

// Reasoning comes first or not at all: a begin marker behind other text is text. An end marker that
// comes first ends nothing, and is dropped.
class ReasoningReader {
 public:
  // `inside`: the text begins inside of it; a begin marker may come all the same.
  ReasoningReader(std::string_view begin, std::string_view end, bool inside)
      : begin_(begin), end_(end), inside_(inside) {}

  // Tells reasoning; returns the text behind it.
  std::string Push(std::string_view piece, OutputDeltas* out);
  std::string Finish(OutputDeltas* out);

 private:
  enum class State : uint8_t { kStart, kInside, kOutside };

  std::string Run(bool last, OutputDeltas* out);
  // False: it cannot be told yet.
  bool ReadStart(bool last);

  const std::string_view begin_, end_;
  const bool inside_;
  State state_ = State::kStart;
  std::string buffer_;
};

}  // namespace folkmoot
