// SPDX-License-Identifier: Apache-2.0
// Calls as elements: MiniMax-M2,
//   <minimax:tool_call>
//   <invoke name="get_weather">
//   <parameter name="city">Paris</parameter>
//   </invoke>
//   </minimax:tool_call>
// dots3.note with the same in <dots_function_call>, and DeepSeek-V3.2 and V4, with a token in front
// of every name, and values that say whether they are strings:
//   <｜DSML｜function_calls>
//   <｜DSML｜invoke name="get_weather">
//   <｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>
//   </｜DSML｜invoke>
//   </｜DSML｜function_calls>
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::string_view kMiniMaxBegins[] = {"<minimax:tool_call>"};
constexpr std::string_view kMiniMaxTail[] = {"</invoke>", "</minimax:tool_call>"};
constexpr ArgumentTags kMiniMaxTags = {.begins = kMiniMaxBegins,
                                       .name_begin = "<parameter name=\"",
                                       .name_end = "\">",
                                       .value_begin = "",
                                       .value_end = "</parameter>",
                                       .end = kMiniMaxTail[0],
                                       .value = ArgumentTags::Value::kLines,
                                       .tail = kMiniMaxTail,
                                       .next = "<invoke name=\""};

constexpr std::string_view kDotsBegins[] = {"<dots_function_call>"};
constexpr std::string_view kDotsTail[] = {"</invoke>", "</dots_function_call>"};
constexpr ArgumentTags DotsTags() {
  ArgumentTags tags = kMiniMaxTags;
  tags.begins = kDotsBegins;
  tags.tail = kDotsTail;
  return tags;
}

constexpr std::string_view kDsmlBegins[] = {"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>"};
constexpr std::string_view kDsmlTail[] = {"</｜DSML｜invoke>", "</｜DSML｜function_calls>",
                                          "</｜DSML｜tool_calls>"};
constexpr ArgumentTags kDsmlTags = {.begins = kDsmlBegins,
                                    .name_begin = "<｜DSML｜parameter name=\"",
                                    .name_end = "\" string=\"",
                                    .value_begin = "",
                                    .value_end = "</｜DSML｜parameter>",
                                    .end = kDsmlTail[0],
                                    .value = ArgumentTags::Value::kTyped,
                                    .tail = kDsmlTail,
                                    .next = "<｜DSML｜invoke name=\""};

class InvokeSyntax : public TaggedSyntax {
 public:
  InvokeSyntax(const ArgumentTags& tags, const OutputRules& rules)
      : TaggedSyntax(tags, rules), begin_(tags.next) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = 0;
    const Reading invoke = Expect(text, begin_, &at);
    if (invoke.is != Reading::Is::kDone) return invoke;
    if (!ReadName(text, &at, name) || (name->empty() && at < text.size())) return Reading::No();
    constexpr std::string_view kEnd = "\">";
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kEnd)) return Reading::Done(at + kEnd.size());
    return kEnd.starts_with(rest) ? Reading::More() : Reading::No();
  }

 private:
  const std::string_view begin_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeMiniMaxSyntax(const OutputRules& rules) {
  return std::make_unique<InvokeSyntax>(kMiniMaxTags, rules);
}

std::unique_ptr<CallSyntax> MakeDotsSyntax(const OutputRules& rules) {
  return std::make_unique<InvokeSyntax>(DotsTags(), rules);
}

std::unique_ptr<CallSyntax> MakeDsmlSyntax(const OutputRules& rules) {
  return std::make_unique<InvokeSyntax>(kDsmlTags, rules);
}

}  // namespace folkmoot
