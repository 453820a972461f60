// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/answer_frame.h"

#include <algorithm>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

std::string FrameReader::Push(std::string_view piece) {
  buffer_ += piece;
  return Run(/*last=*/false);
}

std::string FrameReader::Finish() { return Run(/*last=*/true); }

std::string FrameReader::Run(bool last) {
  std::string out;
  bool goes_on = true;
  while (goes_on) {
    switch (state_) {
      case State::kStart:
        goes_on = ReadStart(last);
        break;
      case State::kInside:
        goes_on = ReadInside(last, &out);
        break;
      case State::kBehind:
        goes_on = ReadBehind(last);
        break;
      case State::kOutside:
        Pass(buffer_.size(), &out);
        goes_on = false;
        break;
    }
  }
  return out;
}

void FrameReader::Pass(size_t length, std::string* out) {
  out->append(buffer_, 0, length);
  buffer_.erase(0, length);
}

bool FrameReader::ReadStart(bool last) {
  bool more = false;
  for (const AnswerFrame& frame : frames_) {
    size_t at = 0;
    const Reading begin = Expect(buffer_, frame.begin, &at);
    more = more || begin.is == Reading::Is::kMore;
    if (begin.is != Reading::Is::kDone) continue;
    if (frame.lines && at == buffer_.size() && !last) return false;
    if (frame.lines && std::string_view(buffer_).substr(at).starts_with('\n')) ++at;
    buffer_.erase(0, at);
    ends_ = {frame.end};
    lines_ = frame.lines;
    state_ = State::kInside;
    return true;
  }
  if (more && !last) return false;
  for (const AnswerFrame& frame : frames_) {
    if (!frame.lines) ends_.push_back(frame.end);
  }
  state_ = ends_.empty() ? State::kOutside : State::kInside;
  return true;
}

bool FrameReader::ReadInside(bool last, std::string* out) {
  const std::string_view text = buffer_;
  size_t found = std::string_view::npos, length = 0, held = 0;
  for (const std::string_view end : ends_) {
    if (const size_t at = text.find(end); at < found) {
      found = at;
      length = end.size();
    }
    held = std::max(held, PartialMarker(text, end));
    if (lines_) held = std::max(held, PartialMarker(text, "\n" + std::string(end)));
  }
  if (found == std::string_view::npos) {
    Pass(text.size() - (last ? 0 : held), out);
    return false;
  }
  if (lines_ && SkipSpace(text, found + length) < text.size()) {
    Pass(found + length, out);  // text follows: it was no marker
    return true;
  }
  const size_t line_break = lines_ && text.substr(0, found).ends_with('\n') ? 1 : 0;
  Pass(found - line_break, out);
  if (lines_ && !last) return false;
  buffer_.erase(0, line_break + length);
  state_ = State::kBehind;
  return true;
}

bool FrameReader::ReadBehind(bool last) {
  const size_t blanks = SkipSpace(buffer_, 0);
  if (blanks == buffer_.size() && !last) return false;
  // White space behind the marker is nobody's, unless there is no end of it.
  const bool endless = blanks < buffer_.size() && IsJsonSpace(buffer_[blanks]);
  if (!endless) buffer_.erase(0, blanks);
  state_ = State::kOutside;
  return true;
}

}  // namespace folkmoot
