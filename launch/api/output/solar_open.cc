// SPDX-License-Identifier: Apache-2.0
// Solar Open. Calls are a message of their own, perhaps behind one with text:
//   <|begin|>assistant<|tool_calls|><|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>get_weather
//   <|tool_call:args|>{"city": "Paris"}<|tool_call:end|><|tool_call:begin|>...<|calls|>
// The id that the model makes up is left out: ours do not repeat.
#include <array>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

constexpr std::string_view kSolarCall = "<|tool_call:begin|>";
constexpr std::string_view kSolarName = "<|tool_call:name|>";
constexpr std::string_view kSolarArguments = "<|tool_call:args|>";
constexpr std::array<std::string_view, 3> kSolarBegins = {"<|begin|>assistant<|tool_calls|>",
                                                          "<|tool_calls|>", kSolarCall};
constexpr std::array<std::string_view, 2> kSolarTail = {"<|tool_call:end|>", "<|calls|>"};

class SolarOpenSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kSolarBegins; }
  std::string_view end() const override { return kSolarTail[0]; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = 0;
    // The begin marker was that of the message, or of the call itself.
    Reading part = Expect(text, kSolarCall, &at);
    if (part.is == Reading::Is::kMore) return part;
    std::string id;
    if (!ReadPart(text, kSolarName, &at, &id, &part)) return part;
    if (!ReadPart(text, kSolarArguments, &at, name, &part)) return part;
    at = SkipSpace(text, at);
    if (at == text.size()) return Reading::More();
    return text[at] == '{' && !name->empty() ? Reading::Done(at) : Reading::No();
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kSolarTail);
  }

 private:
  // A word, and the marker behind it. False: `reading` says why not.
  static bool ReadPart(std::string_view text, std::string_view marker, size_t* at,
                       std::string* word, Reading* reading) {
    *at = SkipSpace(text, *at);
    *reading = ReadName(text, at, word) ? Expect(text, marker, at) : Reading::No();
    return reading->is == Reading::Is::kDone;
  }
};

}  // namespace

std::unique_ptr<CallSyntax> MakeSolarOpenSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<SolarOpenSyntax>();
}

}  // namespace folkmoot
