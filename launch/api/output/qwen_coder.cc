// SPDX-License-Identifier: Apache-2.0
// Qwen3-Coder, Qwen3.5 and later:
//   <tool_call>
//   <function=get_weather>
//   <parameter=city>
//   Paris
//   </parameter>
//   </function>
//   </tool_call>
#include <array>

#include "launch/api/output/output_parser.h"
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kBegins = {"<tool_call>"};
constexpr std::array<std::string_view, 2> kTail = {"</function>", "</tool_call>"};
constexpr std::string_view kFunction = "<function=";
constexpr ArgumentTags kTags = {.name_begin = "<parameter=",
                                .name_end = ">",
                                .value_begin = "",
                                .value_end = "</parameter>",
                                .end = "</function>",
                                .lines = true,
                                .value_end_optional = true};

class QwenCoderSyntax : public CallSyntax {
 public:
  explicit QwenCoderSyntax(const OutputRules& rules) : arguments_(kTags, rules.schemas) {}

  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTail.back(); }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = 0;
    const Reading function = Expect(text, kFunction, &at);
    if (function.is != Reading::Is::kDone) return function;
    if (!ReadName(text, &at, name)) return Reading::No();
    if (at == text.size()) return Reading::More();
    if (text[at] != '>' || name->empty()) return Reading::No();
    arguments_.Begin(*name);
    return Reading::Done(at + 1);
  }
  Reading ReadArguments(std::string_view text, bool /*last*/, std::string* json) override {
    return arguments_.Read(text, json);
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kTail);
  }

 private:
  TaggedArguments arguments_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeQwenCoderSyntax(const OutputRules& rules) {
  return std::make_unique<QwenCoderSyntax>(rules);
}

}  // namespace folkmoot
