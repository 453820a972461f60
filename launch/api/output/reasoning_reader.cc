// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/reasoning_reader.h"

#include <utility>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

std::string ReasoningReader::Push(std::string_view piece, OutputDeltas* out) {
  buffer_ += piece;
  return Run(/*last=*/false, out);
}

std::string ReasoningReader::Finish(OutputDeltas* out) { return Run(/*last=*/true, out); }

bool ReasoningReader::ReadStart(bool last) {
  size_t at = 0;
  Reading marker = Expect(buffer_, begin_, &at);
  const bool begins = marker.is == Reading::Is::kDone;
  if (!begins && !inside_) {  // some models end reasoning that they have not begun
    const Reading end = Expect(buffer_, end_, &at);
    if (end.is == Reading::Is::kMore) marker = end;
  }
  if (marker.is == Reading::Is::kMore && !last) return false;
  buffer_.erase(0, at);
  state_ = inside_ || begins ? State::kInside : State::kOutside;
  return true;
}

std::string ReasoningReader::Run(bool last, OutputDeltas* out) {
  if (state_ == State::kStart && !ReadStart(last)) return "";
  if (state_ == State::kInside) {
    const size_t found = buffer_.find(end_);
    const bool ends = found != std::string::npos;
    const size_t length = ends ? found : buffer_.size() - (last ? 0 : PartialMarker(buffer_, end_));
    out->Reasoning(std::string_view(buffer_).substr(0, length));
    buffer_.erase(0, length + (ends ? end_.size() : 0));
    if (!ends) return "";
    state_ = State::kOutside;
  }
  return std::exchange(buffer_, "");
}

}  // namespace folkmoot
