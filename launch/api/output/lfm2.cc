// SPDX-License-Identifier: Apache-2.0
// LFM2 and LFM2.5: a list of pythonic calls, or of JSON where the prompt asked for it:
//   <|tool_call_start|>[get_weather(city="Paris"), get_time()]<|tool_call_end|>
//   <|tool_call_start|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|tool_call_end|>
// What follows the bracket tells them apart.
#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

class Lfm2Syntax : public CallSyntax {
 public:
  Lfm2Syntax()
      : python_(MakeLfm2PythonicSyntax()), json_(MakeLfm2JsonSyntax()), now_(python_.get()) {}

  std::span<const std::string_view> begins() const override { return python_->begins(); }
  std::string_view end() const override { return json_->end(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t at = 0;
    // No bracket: another call of the list that is read, or none.
    if (Expect(text, "[", &at).is == Reading::Is::kDone) {
      at = SkipSpace(text, at);
      if (at == text.size()) return last ? Reading::No() : Reading::More();
      now_ = text[at] == '{' ? json_.get() : python_.get();
    }
    return now_->ReadHead(text, last, name, arguments);
  }
  Reading ReadArguments(std::string_view text, bool last, std::string* json) override {
    return now_->ReadArguments(text, last, json);
  }
  Reading ReadTail(std::string_view text, bool last) override { return now_->ReadTail(text, last); }

 private:
  const std::unique_ptr<CallSyntax> python_, json_;
  CallSyntax* now_;  // of the list that is read
};

}  // namespace

std::unique_ptr<CallSyntax> MakeLfm2Syntax(const OutputRules& /*rules*/) {
  return std::make_unique<Lfm2Syntax>();
}

}  // namespace folkmoot
