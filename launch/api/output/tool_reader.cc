// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/tool_reader.h"

#include <algorithm>
#include <utility>

namespace folkmoot {

ToolReader::ToolReader(std::unique_ptr<CallSyntax> syntax) : syntax_(std::move(syntax)) {
  if (syntax_->at_start()) state_ = State::kHead;
}

void ToolReader::Push(std::string_view piece, OutputDeltas* out) {
  if (piece.empty()) return;
  buffer_ += piece;
  Run(/*last=*/false, out);
}

void ToolReader::Finish(OutputDeltas* out) { Run(/*last=*/true, out); }

void ToolReader::Run(bool last, OutputDeltas* out) {
  while (!buffer_.empty() || state_ != State::kText) {
    bool goes_on = false;
    switch (state_) {
      case State::kText:
        goes_on = ReadText(last, out);
        break;
      case State::kHead:
        goes_on = ReadHead(last, out);
        break;
      case State::kArguments:
        goes_on = ReadArguments(last, out);
        break;
      case State::kBroken:
        goes_on = ReadBroken(last, out);
        break;
      case State::kTail:
        goes_on = ReadTail(last);
        break;
    }
    if (!goes_on) return;
  }
}

void ToolReader::EmitText(std::string_view text, OutputDeltas* out) {
  if (text.empty()) return;
  after_call_ = false;
  out->Content(text);
}

bool ToolReader::ReadText(bool last, OutputDeltas* out) {
  const std::string_view text = buffer_;
  size_t found = std::string_view::npos;
  std::string_view marker;
  size_t held = 0;
  for (const std::string_view begin : syntax_->begins()) {
    if (const size_t at = text.find(begin); at < found) {
      found = at;
      marker = begin;
    }
    held = std::max(held, PartialMarker(text, begin));
  }
  const bool begins = found != std::string_view::npos;
  const size_t end = begins ? found : text.size() - (last ? 0 : held);
  // White space between calls, or behind the last one, is nobody's.
  const bool blank = after_call_ && SkipSpace(text, 0) >= end;
  if (blank && !begins && !last) return false;
  if (!blank) EmitText(text.substr(0, end), out);
  if (begins) {
    marker_ = marker;
    state_ = State::kHead;
  }
  buffer_.erase(0, begins ? end + marker.size() : end);
  return begins;
}

bool ToolReader::ReadHead(bool last, OutputDeltas* out) {
  std::string name, arguments;
  const Reading reading = syntax_->ReadHead(buffer_, last, &name, &arguments);
  if (reading.is == Reading::Is::kMore && !last) return false;
  const std::string marker = std::exchange(marker_, "");
  if (reading.is != Reading::Is::kDone) {
    EmitText(marker, out);
    state_ = State::kText;  // and the rest may have a marker of its own
    return true;
  }
  out->ToolName(calls_++, name, syntax_->id());
  if (!arguments.empty()) out->ToolArguments(calls_ - 1, arguments);
  state_ = arguments.empty() ? State::kArguments : State::kTail;
  buffer_.erase(0, reading.length);
  return true;
}

bool ToolReader::ReadArguments(bool last, OutputDeltas* out) {
  std::string json;
  const Reading reading = syntax_->ReadArguments(buffer_, last, &json);
  out->ToolArguments(calls_ - 1, json);
  buffer_.erase(0, reading.length);
  if (reading.is == Reading::Is::kMore) {
    if (!last || buffer_.empty()) {
      if (last) state_ = State::kText;
      return false;
    }
    state_ = State::kBroken;  // cut inside of something that is shown as a whole only
    return true;
  }
  state_ = reading.is == Reading::Is::kDone ? State::kTail : State::kBroken;
  return true;
}

bool ToolReader::ReadBroken(bool last, OutputDeltas* out) {
  const std::string_view end = syntax_->end();
  const size_t found = end.empty() ? std::string::npos : buffer_.find(end);
  const bool ends = found != std::string::npos;
  const size_t held = ends || last || end.empty() ? 0 : PartialMarker(buffer_, end);
  const size_t length = ends ? found : buffer_.size() - held;
  out->ToolArguments(calls_ - 1, std::string_view(buffer_).substr(0, length));
  buffer_.erase(0, length + (ends ? end.size() : 0));
  if (ends || last) {
    state_ = State::kText;
    after_call_ = true;
  }
  return ends;
}

bool ToolReader::ReadTail(bool last) {
  const Reading reading = syntax_->ReadTail(buffer_, last);
  if (reading.is == Reading::Is::kMore && !last) return false;
  after_call_ = true;
  state_ = reading.is == Reading::Is::kNext ? State::kHead : State::kText;
  buffer_.erase(0, reading.length);
  return true;
}

}  // namespace folkmoot
