// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, 4.6 and 4.7 (the line breaks may be missing):
//   <tool_call>get_weather
//   <arg_key>city</arg_key>
//   <arg_value>Paris</arg_value>
//   </tool_call>
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::string_view kTail[] = {"</tool_call>"};
constexpr ArgumentTags kTags = {.name_begin = "<arg_key>",
                                .name_end = "</arg_key>",
                                .value_begin = "<arg_value>",
                                .value_end = "</arg_value>",
                                .end = kTail[0],
                                .tail = kTail};

class GlmSyntax : public TaggedSyntax {
 public:
  explicit GlmSyntax(const OutputRules& rules) : TaggedSyntax(kTags, rules) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = SkipSpace(text, 0);
    if (!ReadName(text, &at, name)) return Reading::No();
    at = SkipSpace(text, at);
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kTags.name_begin) || rest.starts_with(kTags.end)) {
      return name->empty() ? Reading::No() : Reading::Done(at);
    }
    const bool more = kTags.name_begin.starts_with(rest) || kTags.end.starts_with(rest);
    return more ? Reading::More() : Reading::No();
  }
};

}  // namespace

std::unique_ptr<CallSyntax> MakeGlmSyntax(const OutputRules& rules) {
  return std::make_unique<GlmSyntax>(rules);
}

}  // namespace folkmoot
