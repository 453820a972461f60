// SPDX-License-Identifier: Apache-2.0
// Formats whose calls are JSON between markers. Hermes, Qwen2.5 and Qwen3, Granite 4 and others:
//   <tool_call>
//   {"name": "get_weather", "arguments": {"city": "Paris"}}
//   </tool_call>
// Hunyuan-A13B, Jamba and Apriel write a list of them, MiniMax-M1 one behind the other:
//   <tool_calls>[{"name": ..., "arguments": {...}}, {"name": ...}]</tool_calls>
// Granite 3 (<|tool_call|>[...]) and Phi-4-mini (functools[...]) end a list with the text.
#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

struct CallMarkers {
  std::string_view begin;
  std::string_view end;  // empty: none
  bool many;             // calls may follow each other without markers
};

class JsonCallsSyntax : public CallSyntax {
 public:
  explicit JsonCallsSyntax(const CallMarkers& markers) : markers_(markers) {}

  std::span<const std::string_view> begins() const override { return {&markers_.begin, 1}; }
  std::string_view end() const override { return markers_.end; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t from = 0;
    if (!again_ && markers_.many) {
      from = SkipSpace(text, 0);
      if (from == text.size()) return Reading::More();
      in_list_ = text[from] == '[';
      if (in_list_) ++from;
    }
    Reading reading = call_.ReadHead(text.substr(from), last, name, arguments);
    if (reading.is != Reading::Is::kMore) again_ = false;
    reading.length += from;
    return reading;
  }

  Reading ReadTail(std::string_view text, bool last) override {
    Reading calls = in_list_ ? call_.ReadListEnd(text, last) : call_.ReadEnd(text, last);
    if (calls.is == Reading::Is::kDone && !in_list_ && markers_.many) {
      const size_t next = SkipSpace(text, calls.length);
      if (next == text.size() && !last) return Reading::More();
      if (next < text.size() && text[next] == '{') calls = Reading::Next(next);
    }
    again_ = calls.is == Reading::Is::kNext;
    if (calls.is != Reading::Is::kDone || markers_.end.empty()) return calls;
    const Reading marker = ReadParts(text.substr(calls.length), last, {&markers_.end, 1});
    if (marker.is == Reading::Is::kMore) return marker;
    return Reading::Done(calls.length + marker.length);
  }

 private:
  const CallMarkers markers_;
  JsonCall call_;
  bool in_list_ = false;
  bool again_ = false;  // a call without a marker comes next
};

}  // namespace

std::unique_ptr<CallSyntax> MakeHermesSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "<tool_call>", .end = "</tool_call>", .many = false});
}

std::unique_ptr<CallSyntax> MakeCallListSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "<tool_calls>", .end = "</tool_calls>", .many = true});
}

std::unique_ptr<CallSyntax> MakeGraniteSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "<|tool_call|>", .end = "", .many = true});
}

std::unique_ptr<CallSyntax> MakeLongCatJsonSyntax() {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "<longcat_tool_call>", .end = "</longcat_tool_call>", .many = false});
}

std::unique_ptr<CallSyntax> MakeLfm2JsonSyntax() {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "<|tool_call_start|>", .end = "<|tool_call_end|>", .many = true});
}

std::unique_ptr<CallSyntax> MakePhiSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<JsonCallsSyntax>(
      CallMarkers{.begin = "functools", .end = "", .many = true});
}

}  // namespace folkmoot
