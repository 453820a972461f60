// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, 4.6 and 4.7 (the line breaks may be missing):
//   <tool_call>get_weather
//   <arg_key>city</arg_key>
//   <arg_value>Paris</arg_value>
//   </tool_call>
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::string_view kBegins[] = {"<tool_call>"};
constexpr std::string_view kTail[] = {"</tool_call>"};
constexpr ArgumentTags kGlmTags = {.begins = kBegins,
                                   .name_begin = "<arg_key>",
                                   .name_end = "</arg_key>",
                                   .value_begin = "<arg_value>",
                                   .value_end = "</arg_value>",
                                   .end = kTail[0],
                                   .tail = kTail};

// LongCat-Flash has the same with names of its own.
constexpr std::string_view kLongCatBegins[] = {"<longcat_tool_call>"};
constexpr std::string_view kLongCatTail[] = {"</longcat_tool_call>"};
constexpr ArgumentTags kLongCatTags = {.begins = kLongCatBegins,
                                       .name_begin = "<longcat_arg_key>",
                                       .name_end = "</longcat_arg_key>",
                                       .value_begin = "<longcat_arg_value>",
                                       .value_end = "</longcat_arg_value>",
                                       .end = kLongCatTail[0],
                                       .tail = kLongCatTail};

class GlmSyntax : public TaggedSyntax {
 public:
  GlmSyntax(const ArgumentTags& tags, const OutputRules& rules)
      : TaggedSyntax(tags, rules), pair_(tags.name_begin), end_(tags.end) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = SkipSpace(text, 0);
    if (!ReadName(text, &at, name)) return Reading::No();
    at = SkipSpace(text, at);
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(pair_) || rest.starts_with(end_)) {
      return name->empty() ? Reading::No() : Reading::Done(at);
    }
    const bool more = pair_.starts_with(rest) || end_.starts_with(rest);
    return more ? Reading::More() : Reading::No();
  }

 private:
  const std::string_view pair_, end_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeGlmSyntax(const OutputRules& rules) {
  return std::make_unique<GlmSyntax>(kGlmTags, rules);
}

std::unique_ptr<CallSyntax> MakeLongCatPairsSyntax(const OutputRules& rules) {
  return std::make_unique<GlmSyntax>(kLongCatTags, rules);
}

}  // namespace folkmoot
