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
constexpr std::array<std::string_view, 2> kTail = {"}", "</tool_call>"};

class HermesSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTail.back(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    return head_.Read(text, last, name, arguments);
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kTail);
  }

 private:
  JsonCallHead head_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeHermesSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<HermesSyntax>();
}

}  // namespace folkmoot
