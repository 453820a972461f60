// SPDX-License-Identifier: Apache-2.0
// Qwen3-Coder, Qwen3.5 and later:
//   <tool_call>
//   <function=get_weather>
//   <parameter=city>
//   Paris
//   </parameter>
//   </function>
//   </tool_call>
// Seed-OSS has the same with <seed:tool_call>, ZAYA1 with <zyphra_tool_call>.
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::string_view kQwenBegins[] = {"<tool_call>"};
constexpr std::string_view kQwenTail[] = {"</function>", "</tool_call>"};
constexpr std::string_view kSeedBegins[] = {"<seed:tool_call>"};
constexpr std::string_view kSeedTail[] = {"</function>", "</seed:tool_call>"};
constexpr std::string_view kZayaBegins[] = {"<zyphra_tool_call>"};
constexpr std::string_view kZayaTail[] = {"</function>", "</zyphra_tool_call>"};

ArgumentTags Tags(std::span<const std::string_view> begins,
                  std::span<const std::string_view> tail) {
  return {.begins = begins,
          .name_begin = "<parameter=",
          .name_end = ">",
          .value_begin = "",
          .value_end = "</parameter>",
          .end = tail.front(),
          .value = ArgumentTags::Value::kLines,
          .value_end_optional = true,
          .tail = tail};
}

class QwenCoderSyntax : public TaggedSyntax {
 public:
  using TaggedSyntax::TaggedSyntax;

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
  return std::make_unique<QwenCoderSyntax>(Tags(kQwenBegins, kQwenTail), rules);
}

std::unique_ptr<CallSyntax> MakeSeedSyntax(const OutputRules& rules) {
  return std::make_unique<QwenCoderSyntax>(Tags(kSeedBegins, kSeedTail), rules);
}

std::unique_ptr<CallSyntax> MakeZayaSyntax(const OutputRules& rules) {
  return std::make_unique<QwenCoderSyntax>(Tags(kZayaBegins, kZayaTail), rules);
}

}  // namespace folkmoot
