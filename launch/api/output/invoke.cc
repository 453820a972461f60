// SPDX-License-Identifier: Apache-2.0
// Calls as elements: MiniMax-M2,
//   <minimax:tool_call>
//   <invoke name="get_weather">
//   <parameter name="city">Paris</parameter>
//   </invoke>
//   </minimax:tool_call>
// and DeepSeek-V3.2 and V4, with a token in front of every name, and values that say whether they
// are strings:
//   <｜DSML｜function_calls>
//   <｜DSML｜invoke name="get_weather">
//   <｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>
//   </｜DSML｜invoke>
//   </｜DSML｜function_calls>
// dots3.note has <dots_function_call> around the first, or JSON in its place, and Muse's
// elements (muse.cc) begin with "atem:".
#include "launch/api/output/either_syntax.h"
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

constexpr std::string_view kDotsBegins[] = {"<dots_function_call>"};
constexpr std::string_view kDotsTail[] = {"</invoke>", "</dots_function_call>"};
constexpr ArgumentTags kDotsTags = {.begins = kDotsBegins,
                                    .name_begin = kMiniMaxTags.name_begin,
                                    .name_end = kMiniMaxTags.name_end,
                                    .value_begin = "",
                                    .value_end = kMiniMaxTags.value_end,
                                    .end = kDotsTail[0],
                                    .value = ArgumentTags::Value::kTrimmed,
                                    .tail = kDotsTail,
                                    .next = kMiniMaxTags.next};

// The list may be missing around a call.
constexpr std::string_view kAtemInvoke = "<atem:invoke name=\"";
constexpr std::string_view kAtemBegins[] = {"<atem:function_calls>", kAtemInvoke};
constexpr std::string_view kAtemTail[] = {"</atem:invoke>", "</atem:function_calls>"};
constexpr ArgumentTags kAtemTags = {.begins = kAtemBegins,
                                    .name_begin = "<atem:parameter name=\"",
                                    .name_end = "\">",
                                    .value_begin = "",
                                    .value_end = "</atem:parameter>",
                                    .end = kAtemTail[0],
                                    .value = ArgumentTags::Value::kPlain,
                                    .tail = kAtemTail,
                                    .next = kAtemInvoke};

class InvokeSyntax : public TaggedSyntax {
 public:
  InvokeSyntax(const ArgumentTags& tags, const OutputRules& rules)
      : TaggedSyntax(tags, rules), begin_(tags.next) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = 0;
    const Reading invoke = Expect(text, begin_, &at);
    if (invoke.is != Reading::Is::kDone) return invoke;
    return ReadNameAt(text, at, name);
  }

  // Its name, which begins at `at`, and what stands behind it.
  Reading ReadNameAt(std::string_view text, size_t at, std::string* name) const {
    if (!ReadName(text, &at, name) || (name->empty() && at < text.size())) return Reading::No();
    constexpr std::string_view kEnd = "\">";
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kEnd)) return Reading::Done(at + kEnd.size());
    return kEnd.starts_with(rest) ? Reading::More() : Reading::No();
  }

 private:
  const std::string_view begin_;
};

class AtemSyntax : public InvokeSyntax {
 public:
  explicit AtemSyntax(const OutputRules& rules)
      : InvokeSyntax(kAtemTags, rules), schemas_(rules.schemas) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    Reading head = InvokeSyntax::ReadToolName(text, name);
    if (head.is == Reading::Is::kNo) {  // behind kAtemInvoke
      name->clear();
      head = ReadNameAt(text, 0, name);
    }
    // Templates show tools as "get_weather.*", of which models make "get_weather.get_weather".
    const size_t middle = name->size() / 2;
    const std::string once = name->substr(0, middle);
    if (*name == once + "." + once && !schemas_->Has(*name) && schemas_->Has(once)) *name = once;
    return head;
  }

 private:
  const std::shared_ptr<const ToolSchemas> schemas_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeAtemSyntax(const OutputRules& rules) {
  return std::make_unique<AtemSyntax>(rules);
}

std::unique_ptr<CallSyntax> MakeDotsSyntax(const OutputRules& rules) {
  return std::make_unique<EitherSyntax>("", MakeDotsJsonSyntax(),
                                        std::make_unique<InvokeSyntax>(kDotsTags, rules));
}

std::unique_ptr<CallSyntax> MakeMiniMaxSyntax(const OutputRules& rules) {
  return std::make_unique<InvokeSyntax>(kMiniMaxTags, rules);
}

std::unique_ptr<CallSyntax> MakeDsmlSyntax(const OutputRules& rules) {
  return std::make_unique<InvokeSyntax>(kDsmlTags, rules);
}

}  // namespace folkmoot
