// SPDX-License-Identifier: Apache-2.0
#include "launch/api/output/harmony_parser.h"

#include <algorithm>
#include <array>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

constexpr std::string_view kStart = "<|start|>";
constexpr std::string_view kChannel = "<|channel|>";
constexpr std::string_view kMessage = "<|message|>";
constexpr std::string_view kFunctions = "to=functions.";
// What a header may begin with; other text is a body without a header.
constexpr std::array<std::string_view, 4> kHeads = {kChannel, kMessage, "<|constrain|>", "to="};
constexpr std::array<std::string_view, 4> kEnds = {"<|end|>", "<|call|>", "<|return|>", kStart};
// No header is longer; more text than this without a message is content.
constexpr size_t kMaxHeader = 1024;

// The word behind `key`, up to white space or a marker.
std::string_view WordBehind(std::string_view text, std::string_view key) {
  const size_t found = text.find(key);
  if (found == std::string_view::npos) return {};
  text.remove_prefix(found + key.size());
  return text.substr(0, text.find_first_of(" \n\t\r<"));
}

struct Marker {
  size_t at = std::string_view::npos;
  size_t size = 0;
  size_t held = 0;  // bytes at the end that may become one
};

template <size_t n>
Marker FindFirst(std::string_view text, const std::array<std::string_view, n>& markers) {
  Marker first;
  for (const std::string_view marker : markers) {
    first.held = std::max(first.held, PartialMarker(text, marker));
    if (const size_t at = text.find(marker); at < first.at) {
      first.at = at;
      first.size = marker.size();
    }
  }
  return first;
}

}  // namespace

void HarmonyParser::Push(std::string_view piece, OutputDeltas* out) {
  buffer_ += piece;
  Run(/*last=*/false, out);
}

void HarmonyParser::Run(bool last, OutputDeltas* out) {
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

void HarmonyParser::Begin(std::string_view header, OutputDeltas* out) {
  state_ = State::kBody;
  fresh_ = true;
  to_ = WordBehind(header, kChannel) == "analysis" ? To::kReasoning : To::kContent;
  const std::string_view function = WordBehind(header, kFunctions);
  if (!function.empty() && tools_) {
    to_ = To::kTool;
    out->ToolName(calls_++, function);
  }
}

bool HarmonyParser::ReadHeader(bool last, OutputDeltas* out) {
  const std::string_view text = buffer_;
  const size_t begin = SkipSpace(text, 0);
  const std::string_view rest = text.substr(begin);
  const bool head = std::any_of(kHeads.begin(), kHeads.end(),
                                [&](std::string_view one) { return rest.starts_with(one); });
  const bool may_be = std::any_of(kHeads.begin(), kHeads.end(),
                                  [&](std::string_view one) { return one.starts_with(rest); });
  const size_t found = text.substr(0, kMaxHeader).find(kMessage);
  if (head && found != std::string_view::npos) {
    Begin(text.substr(0, found), out);
    buffer_.erase(0, found + kMessage.size());
    return true;
  }
  if ((head || may_be) && !last && text.size() < kMaxHeader) return false;
  if (head && last) {  // markers alone
    buffer_.clear();
    return false;
  }
  to_ = To::kContent;
  state_ = State::kBody;
  fresh_ = true;
  return !buffer_.empty();
}

void HarmonyParser::Emit(std::string_view text, OutputDeltas* out) {
  if (text.empty()) return;
  // Two messages in a row to the same reader are two lines.
  const bool join = fresh_ && last_to_ == to_ && to_ != To::kTool;
  if (to_ == To::kReasoning) {
    if (join) out->Reasoning("\n");
    out->Reasoning(text);
  } else if (to_ == To::kTool) {
    out->ToolArguments(calls_ - 1, text);
  } else {
    if (join) out->Content("\n");
    out->Content(text);
  }
  fresh_ = false;
  last_to_ = to_;
}

bool HarmonyParser::ReadBody(bool last, OutputDeltas* out) {
  const std::string_view text = buffer_;
  const Marker end = FindFirst(text, kEnds);
  const bool ends = end.at != std::string_view::npos;
  Emit(text.substr(0, ends ? end.at : text.size() - (last ? 0 : end.held)), out);
  if (to_ == To::kTool && fresh_ && (ends || last)) Emit("{}", out);  // no arguments
  if (!ends) {
    buffer_.erase(0, last ? text.size() : text.size() - end.held);
    return false;
  }
  // The start of the next message is left for the state that waits for it.
  const bool start = text.substr(end.at).starts_with(kStart);
  buffer_.erase(0, end.at + (start ? 0 : end.size));
  state_ = State::kBetween;
  return true;
}

bool HarmonyParser::ReadBetween(bool last) {
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
  to_ = To::kContent;
  fresh_ = true;
  state_ = State::kBody;
  return true;
}

}  // namespace folkmoot
