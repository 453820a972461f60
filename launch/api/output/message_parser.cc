// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/message_parser.h"

#include <algorithm>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

constexpr std::string_view kStart = "<|start|>";
constexpr std::string_view kMessage = "<|message|>";
// No header is longer; more text than this without a message is content.
constexpr size_t kMaxHeader = 1024;

}  // namespace

void MessageParser::Push(std::string_view piece, OutputDeltas* out) {
  buffer_ += piece;
  Run(/*last=*/false, out);
}

void MessageParser::Run(bool last, OutputDeltas* out) {
  bool goes_on = true;
  while (goes_on && (!buffer_.empty() || last)) {
    switch (state_) {
      case State::kHeader:
        goes_on = ReadHeader(last, out);
        break;
      case State::kBody:
        goes_on = ReadBody(last, out);
        break;
      case State::kBetween:
        goes_on = ReadBetween(last);
        break;
    }
  }
}

void MessageParser::BeginBody(To to) {
  to_ = to;
  state_ = State::kBody;
  fresh_ = true;
}

bool MessageParser::ReadHeader(bool last, OutputDeltas* out) {
  const std::string_view text = buffer_;
  const size_t begin = SkipSpace(text, 0);
  const std::string_view rest = text.substr(begin);
  const bool head = std::any_of(heads_.begin(), heads_.end(),
                                [&](std::string_view one) { return rest.starts_with(one); });
  const bool may_be = std::any_of(heads_.begin(), heads_.end(),
                                  [&](std::string_view one) { return one.starts_with(rest); });
  const size_t found = text.substr(0, kMaxHeader).find(kMessage);
  if (head && found != std::string_view::npos) {
    BeginBody(Begin(text.substr(0, found), out));
    buffer_.erase(0, found + kMessage.size());
    return true;
  }
  if ((head || may_be) && !last && text.size() < kMaxHeader) return false;
  if (head && last) {  // markers alone
    buffer_.clear();
    return false;
  }
  BeginBody(To::kContent);
  return !buffer_.empty();
}

void MessageParser::Emit(std::string_view text, OutputDeltas* out) {
  if (text.empty() || to_ == To::kNobody) return;
  // Two messages in a row to the same reader are two lines.
  const bool join = fresh_ && last_to_ == to_;
  switch (to_) {
    case To::kReasoning:
      if (join) out->Reasoning("\n");
      out->Reasoning(text);
      break;
    case To::kContent:
      if (join) out->Content("\n");
      out->Content(text);
      break;
    case To::kTool:
      ToolText(text, out);
      break;
    case To::kNobody:
      return;
  }
  fresh_ = false;
  last_to_ = to_;
}

MessageParser::Marker MessageParser::FindEnd(std::string_view text) const {
  Marker first = BareHeader(text);
  const auto look_for = [&](std::string_view marker, size_t size) {
    first.held = std::max(first.held, PartialMarker(text, marker));
    const size_t at = text.find(marker);
    if (at < first.at) first = {.at = at, .size = size, .held = first.held};
  };
  for (const std::string_view marker : ends_) look_for(marker, marker.size());
  look_for(kStart, 0);  // left for the state that waits for it
  return first;
}

bool MessageParser::ReadBody(bool last, OutputDeltas* out) {
  const std::string_view text = buffer_;
  const Marker end = FindEnd(text);
  const bool ends = end.at != std::string_view::npos;
  Emit(text.substr(0, ends ? end.at : text.size() - (last ? 0 : end.held)), out);
  if (to_ == To::kTool && (ends || last)) EndTool(/*empty=*/fresh_, out);
  if (!ends) {
    buffer_.erase(0, last ? text.size() : text.size() - end.held);
    return false;
  }
  const bool bare = end.size == 0 && !text.substr(end.at).starts_with(kStart);
  buffer_.erase(0, end.at + end.size);
  state_ = bare ? State::kHeader : State::kBetween;
  return true;
}

bool MessageParser::ReadBetween(bool last) {
  const std::string_view text = buffer_;
  size_t at = 0;
  const Reading start = Expect(text, kStart, &at);
  if (start.is == Reading::Is::kDone) {
    // "assistant" and perhaps a recipient, up to the channel.
    constexpr std::string_view kRole = "assistant";
    const std::string_view role = text.substr(at);
    if (!last && role.size() < kRole.size() && kRole.starts_with(role)) return false;
    buffer_.erase(0, at + (role.starts_with(kRole) ? kRole.size() : 0));
    state_ = State::kHeader;
    return true;
  }
  if (!last && start.is == Reading::Is::kMore) return false;
  if (SkipSpace(text, 0) == text.size()) {
    buffer_.clear();
    return false;
  }
  BeginBody(To::kContent);
  return true;
}

}  // namespace folkmoot
