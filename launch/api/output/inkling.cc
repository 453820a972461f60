// SPDX-License-Identifier: Apache-2.0
// Inkling. Reasoning, the answer and each call are messages of their own, which the prompt may have
// begun:
//   <|message_model|>get_weather<|content_invoke_tool_json|>{"name":"get_weather",
//   "args":{"city":"Paris"}}<|end_message|>
// The name in front of the marker may be missing; that of the object counts.
#include <array>

#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

constexpr std::string_view kInklingInvoke = "<|content_invoke_tool_json|>";
constexpr std::string_view kInklingEnd = "<|end_message|>";
constexpr std::array<std::string_view, 1> kInklingBegins = {"<|message_model|>"};

class InklingSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kInklingBegins; }
  bool at_start() const override { return true; }
  std::string_view end() const override { return kInklingEnd; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t at = 0;
    std::string header;
    if (!ReadName(text, &at, &header)) return Reading::No();
    const Reading marker = Expect(text, kInklingInvoke, &at);
    if (marker.is != Reading::Is::kDone) return marker;
    Reading call = call_.ReadHead(text.substr(at), last, name, arguments);
    call.length += at;
    return call;
  }

  Reading ReadTail(std::string_view text, bool last) override {
    const Reading object = call_.ReadEnd(text, last);
    if (object.is == Reading::Is::kMore) return object;
    const Reading marker = ReadParts(text.substr(object.length), last, {&kInklingEnd, 1});
    if (marker.is == Reading::Is::kMore) return marker;
    return Reading::Done(object.length + marker.length);
  }

 private:
  JsonCall call_{JsonCallKeys{.arguments = "args"}};
};

}  // namespace

std::unique_ptr<CallSyntax> MakeInklingSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<InklingSyntax>();
}

}  // namespace folkmoot
