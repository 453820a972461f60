// SPDX-License-Identifier: Apache-2.0
// Qwen3-Coder, Qwen3.5 and later:
//   <tool_call>
//   <function=get_weather>
//   <parameter=city>
//   Paris
//   </parameter>
//   </function>
//   </tool_call>
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::string_view kBegins[] = {"<tool_call>"};
constexpr std::string_view kTail[] = {"</function>", "</tool_call>"};
constexpr ArgumentTags kTags = {.begins = kBegins,
                                .name_begin = "<parameter=",
                                .name_end = ">",
                                .value_begin = "",
                                .value_end = "</parameter>",
                                .end = kTail[0],
                                .value = ArgumentTags::Value::kLines,
                                .value_end_optional = true,
                                .tail = kTail};

class QwenCoderSyntax : public TaggedSyntax {
 public:
  explicit QwenCoderSyntax(const OutputRules& rules) : TaggedSyntax(kTags, rules) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = 0;
    const Reading function = Expect(text, "<function=", &at);
    if (function.is != Reading::Is::kDone) return function;
    if (!ReadName(text, &at, name)) return Reading::No();
    if (at == text.size()) return Reading::More();
    return text[at] == '>' && !name->empty() ? Reading::Done(at + 1) : Reading::No();
  }
};

}  // namespace

std::unique_ptr<CallSyntax> MakeQwenCoderSyntax(const OutputRules& rules) {
  return std::make_unique<QwenCoderSyntax>(rules);
}

}  // namespace folkmoot
