// SPDX-License-Identifier: Apache-2.0
// Pythonic calls, as Llama 4 and others may be asked for them: the whole text is a list,
//   [get_weather(city="Paris", days=3), get_time()]
// or it stands between <|python_start|> and <|python_end|>. LFM2 has markers of its own, and so has
// OLMo 3, with a line for each call instead of a list:
//   <function_calls>
//   get_weather(city="Paris", days=3)
//   get_time()
//   </function_calls>
#include "launch/api/output/python_call.h"

namespace folkmoot {
namespace {

struct ListMarkers {
  std::string_view begin, end;
  bool brackets = true;   // and commas: a list; else lines
  bool at_start = false;  // a text may begin with a list
};

class PythonicSyntax : public CallSyntax {
 public:
  explicit PythonicSyntax(const ListMarkers& markers) : markers_(markers) {}

  std::span<const std::string_view> begins() const override { return {&markers_.begin, 1}; }
  bool at_start() const override { return markers_.at_start; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t from = 0;
    if (!again_ && markers_.brackets) {
      if (const Reading list = Expect(text, "[", &from); list.is != Reading::Is::kDone) return list;
    }
    Reading call = call_.Read(text.substr(from), last, name, arguments);
    if (call.is != Reading::Is::kMore) again_ = false;
    call.length += from;
    return call;
  }

  Reading ReadTail(std::string_view text, bool last) override {
    const size_t next = SkipSpace(text, 0);
    if (next == text.size()) return last ? Reading::Done(0) : Reading::More();
    if (!markers_.brackets) {
      again_ = IsNameCharacter(text[next]);
      return again_ ? Reading::Next(next) : ReadEnd(text, 0, last);
    }
    again_ = text[next] == ',';
    if (again_) return Reading::Next(next + 1);
    return text[next] == ']' ? ReadEnd(text, next + 1, last) : Reading::Done(0);
  }

 private:
  // The end marker from `at` on, if it is there.
  Reading ReadEnd(std::string_view text, size_t at, bool last) const {
    const Reading end = ReadParts(text.substr(at), last, {&markers_.end, 1});
    return end.is == Reading::Is::kMore ? end : Reading::Done(at + end.length);
  }

  const ListMarkers markers_;
  PythonCall call_;
  bool again_ = false;  // inside of the list
};

}  // namespace

std::unique_ptr<CallSyntax> MakePythonicSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<PythonicSyntax>(
      ListMarkers{.begin = "<|python_start|>", .end = "<|python_end|>", .at_start = true});
}

std::unique_ptr<CallSyntax> MakeOlmo3Syntax(const OutputRules& /*rules*/) {
  return std::make_unique<PythonicSyntax>(
      ListMarkers{.begin = "<function_calls>", .end = "</function_calls>", .brackets = false});
}

std::unique_ptr<CallSyntax> MakeLfm2PythonicSyntax() {
  return std::make_unique<PythonicSyntax>(
      ListMarkers{.begin = "<|tool_call_start|>", .end = "<|tool_call_end|>"});
}

}  // namespace folkmoot
