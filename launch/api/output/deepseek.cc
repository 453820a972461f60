// SPDX-License-Identifier: Apache-2.0
// DeepSeek-V3 and R1:
//   <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather
//   ```json
//   {"city": "Paris"}
//   ```<｜tool▁call▁end｜>
//   <｜tool▁call▁begin｜>...<｜tool▁calls▁end｜>
// and V3.1, without the word "function" and the fence:
//   <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}
//   <｜tool▁call▁end｜><｜tool▁calls▁end｜>
// What follows the separator tells them apart: no name begins with a brace.
#include <array>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

constexpr std::string_view kCall = "<｜tool▁call▁begin｜>";
constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kFence = "```json";
constexpr std::array<std::string_view, 2> kBegins = {"<｜tool▁calls▁begin｜>", kCall};
constexpr std::array<std::string_view, 3> kTail = {"```", "<｜tool▁call▁end｜>",
                                                   "<｜tool▁calls▁end｜>"};

class DeepSeekSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTail[1]; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = 0;
    // The begin marker was that of the list, or of the call itself.
    if (const Reading call = Expect(text, kCall, &at); call.is == Reading::Is::kMore) return call;
    at = SkipSpace(text, at);
    if (!ReadName(text, &at, name)) return Reading::No();
    if (const Reading separator = Expect(text, kSeparator, &at);
        separator.is != Reading::Is::kDone) {
      return separator;
    }
    at = SkipSpace(text, at);
    if (at == text.size()) return Reading::More();
    if (text[at] != '{') {
      if (*name != "function" || !ReadName(text, &at, name)) return Reading::No();
      if (const Reading fence = Expect(text, kFence, &at); fence.is != Reading::Is::kDone) {
        return fence;
      }
    }
    at = SkipSpace(text, at);
    if (at == text.size()) return Reading::More();
    return text[at] == '{' && !name->empty() ? Reading::Done(at) : Reading::No();
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kTail);
  }
};

}  // namespace

std::unique_ptr<CallSyntax> MakeDeepSeekSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<DeepSeekSyntax>();
}

}  // namespace folkmoot
