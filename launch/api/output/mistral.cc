// SPDX-License-Identifier: Apache-2.0
// Mistral, with tokenizers before v11:
//   [TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "123456789"}, ...]
// and later, once for each call:
//   [TOOL_CALLS]get_weather{"city": "Paris"}
//   [TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}
//   [TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]{"city": "Paris"}
#include <array>

#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kBegins = {"[TOOL_CALLS]"};
constexpr std::string_view kCallId = "[CALL_ID]";
constexpr std::string_view kArguments = "[ARGS]";

class MistralSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    const bool again = in_list_;
    if (again) return ReadListed(text, 0, last, name, arguments);
    const size_t begin = SkipSpace(text, 0);
    if (begin == text.size()) return Reading::More();
    if (text[begin] == '[') return ReadListed(text, begin + 1, last, name, arguments);
    return ReadNamed(text, begin, name);
  }

  Reading ReadTail(std::string_view text, bool last) override {
    if (!in_list_) return Reading::Done(0);
    const Reading tail = call_.ReadListEnd(text, last);
    if (tail.is == Reading::Is::kDone) in_list_ = false;
    return tail;
  }

 private:
  Reading ReadListed(std::string_view text, size_t from, bool last, std::string* name,
                     std::string* arguments) {
    Reading reading = call_.ReadHead(text.substr(from), last, name, arguments);
    if (reading.is == Reading::Is::kMore) return reading;
    in_list_ = reading.is == Reading::Is::kDone;
    reading.length += from;
    return reading;
  }

  static Reading ReadNamed(std::string_view text, size_t at, std::string* name) {
    if (!ReadName(text, &at, name) || name->empty()) return Reading::No();
    std::string id;
    for (const std::string_view part : {kCallId, kArguments}) {
      const std::string_view rest = text.substr(at);
      if (!rest.starts_with(part)) {
        if (part.starts_with(rest)) return Reading::More();
        continue;
      }
      at += part.size();
      if (part == kCallId && !ReadName(text, &at, &id)) return Reading::No();
    }
    at = SkipSpace(text, at);
    if (at == text.size()) return Reading::More();
    return text[at] == '{' ? Reading::Done(at) : Reading::No();
  }

  JsonCall call_;
  bool in_list_ = false;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeMistralSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<MistralSyntax>();
}

}  // namespace folkmoot
