// SPDX-License-Identifier: Apache-2.0
// Hermes, Qwen2.5 and Qwen3, Granite 4 and others:
//   <tool_call>
//   {"name": "get_weather", "arguments": {"city": "Paris"}}
//   </tool_call>
#include <array>

#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kBegins = {"<tool_call>"};
constexpr std::array<std::string_view, 1> kTail = {"</tool_call>"};

class HermesSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTail.back(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    return call_.ReadHead(text, last, name, arguments);
  }
  Reading ReadTail(std::string_view text, bool last) override {
    const Reading object = call_.ReadEnd(text, last);
    if (object.is == Reading::Is::kMore) return object;
    const Reading marker = ReadParts(text.substr(object.length), last, kTail);
    if (marker.is == Reading::Is::kMore) return marker;
    return Reading::Done(object.length + marker.length);
  }

 private:
  JsonCall call_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeHermesSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<HermesSyntax>();
}

}  // namespace folkmoot
