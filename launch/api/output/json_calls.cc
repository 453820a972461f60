// SPDX-License-Identifier: Apache-2.0
// Formats whose calls are JSON between markers. Hermes, Qwen2.5 and Qwen3, Granite 4, ERNIE 4.5 and
// others:
//   <tool_call>
//   {"name": "get_weather", "arguments": {"city": "Paris"}}
//   </tool_call>
// Hunyuan-A13B, Jamba and Apriel write a list of them, MiniMax-M1 one behind the other:
//   <tool_calls>[{"name": ..., "arguments": {...}}, {"name": ...}]</tool_calls>
// Nemotron Nano 2 has such a list in <TOOLCALL>; Cohere's Command has names of its own:
//   <|START_ACTION|>[{"tool_call_id": "0", "tool_name": ..., "parameters": {...}}]<|END_ACTION|>
// Granite 3 (<|tool_call|>[...]) and Phi-4-mini (functools[...]) end a list with the text. GigaChat
// 3 writes one call, as a message of its own or behind a token.
#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

struct CallMarkers {
  std::span<const std::string_view> begins;
  std::string_view end;  // empty: none
  bool many = false;     // calls may follow each other without markers
  JsonCallKeys keys = {};
};

constexpr std::string_view kHermes[] = {"<tool_call>"};
constexpr std::string_view kCallList[] = {"<tool_calls>"};
constexpr std::string_view kNemotron[] = {"<TOOLCALL>"};
constexpr std::string_view kCohere[] = {"<|START_ACTION|>"};
constexpr std::string_view kGranite[] = {"<|tool_call|>"};
constexpr std::string_view kPhi[] = {"functools"};
constexpr std::string_view kLongCat[] = {"<longcat_tool_call>"};
constexpr std::string_view kDots[] = {"<dots_function_call>"};
constexpr std::string_view kLfm2[] = {"<|tool_call_start|>"};
constexpr std::string_view kGigaChat[] = {"<|message_sep|>\n\nfunction call<|role_sep|>",
                                          "function call<|role_sep|>", "<|function_call|>"};

class JsonCallsSyntax : public CallSyntax {
 public:
  explicit JsonCallsSyntax(const CallMarkers& markers) : markers_(markers), call_(markers.keys) {}

  std::span<const std::string_view> begins() const override { return markers_.begins; }
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

std::unique_ptr<CallSyntax> Make(const CallMarkers& markers) {
  return std::make_unique<JsonCallsSyntax>(markers);
}

}  // namespace

std::unique_ptr<CallSyntax> MakeHermesSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kHermes, .end = "</tool_call>"});
}
std::unique_ptr<CallSyntax> MakeCallListSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kCallList, .end = "</tool_calls>", .many = true});
}
std::unique_ptr<CallSyntax> MakeNemotronSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kNemotron, .end = "</TOOLCALL>", .many = true});
}
std::unique_ptr<CallSyntax> MakeCohereSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kCohere,
               .end = "<|END_ACTION|>",
               .many = true,
               .keys = {.name = "tool_name", .id = "tool_call_id"}});
}
std::unique_ptr<CallSyntax> MakeGraniteSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kGranite, .end = "", .many = true});
}
std::unique_ptr<CallSyntax> MakePhiSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kPhi, .end = "", .many = true});
}
std::unique_ptr<CallSyntax> MakeGigaChatSyntax(const OutputRules& /*rules*/) {
  return Make({.begins = kGigaChat, .end = "<|message_sep|>"});
}
std::unique_ptr<CallSyntax> MakeLongCatJsonSyntax() {
  return Make({.begins = kLongCat, .end = "</longcat_tool_call>"});
}
std::unique_ptr<CallSyntax> MakeDotsJsonSyntax() {
  return Make({.begins = kDots, .end = "</dots_function_call>"});
}
std::unique_ptr<CallSyntax> MakeLfm2JsonSyntax() {
  return Make({.begins = kLfm2, .end = "<|tool_call_end|>", .many = true});
}

}  // namespace folkmoot
