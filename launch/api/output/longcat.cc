// SPDX-License-Identifier: Apache-2.0
// LongCat-Flash: what Hermes writes, and in later models what GLM writes, with markers of its own:
//   <longcat_tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</longcat_tool_call>
//   <longcat_tool_call>get_weather
//   <longcat_arg_key>city</longcat_arg_key>
//   <longcat_arg_value>Paris</longcat_arg_value>
//   </longcat_tool_call>
// What follows the marker tells them apart.
#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

class LongCatSyntax : public CallSyntax {
 public:
  explicit LongCatSyntax(const OutputRules& rules)
      : json_(MakeLongCatJsonSyntax()), pairs_(MakeLongCatPairsSyntax(rules)), now_(json_.get()) {}

  std::span<const std::string_view> begins() const override { return json_->begins(); }
  std::string_view end() const override { return json_->end(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    const size_t begin = SkipSpace(text, 0);
    if (begin == text.size()) return Reading::More();
    now_ = text[begin] == '{' ? json_.get() : pairs_.get();
    return now_->ReadHead(text, last, name, arguments);
  }
  Reading ReadArguments(std::string_view text, bool last, std::string* json) override {
    return now_->ReadArguments(text, last, json);
  }
  Reading ReadTail(std::string_view text, bool last) override { return now_->ReadTail(text, last); }

 private:
  const std::unique_ptr<CallSyntax> json_, pairs_;
  CallSyntax* now_;  // of the call that is read
};

}  // namespace

std::unique_ptr<CallSyntax> MakeLongCatSyntax(const OutputRules& rules) {
  return std::make_unique<LongCatSyntax>(rules);
}

}  // namespace folkmoot
