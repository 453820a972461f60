// SPDX-License-Identifier: Apache-2.0
// Kimi-K2 and later. The id has the name, and the number of the call in the conversation:
//   <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>
//   {"city": "Paris"}<|tool_call_end|><|tool_call_begin|>...<|tool_calls_section_end|>
// Clients get this id, for some of its templates show nothing else of a call.
#include <algorithm>
#include <array>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {
namespace {

constexpr std::string_view kCall = "<|tool_call_begin|>";
constexpr std::string_view kArguments = "<|tool_call_argument_begin|>";
constexpr std::string_view kSpace = "functions.";
constexpr std::array<std::string_view, 2> kBegins = {"<|tool_calls_section_begin|>", kCall};
constexpr std::array<std::string_view, 2> kTail = {"<|tool_call_end|>",
                                                   "<|tool_calls_section_end|>"};

std::string NameIn(std::string_view id) {
  if (id.starts_with(kSpace)) id.remove_prefix(kSpace.size());
  const size_t colon = id.rfind(':');
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (colon != std::string_view::npos && colon + 1 < id.size() &&
      std::all_of(id.begin() + static_cast<ptrdiff_t>(colon) + 1, id.end(), is_digit)) {
    id = id.substr(0, colon);
  }
  return std::string(id);
}

class KimiSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTail[0]; }
  std::string_view id() const override { return id_; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = 0;
    // The begin marker was that of the section, or of the call itself.
    if (const Reading call = Expect(text, kCall, &at); call.is == Reading::Is::kMore) return call;
    at = SkipSpace(text, at);
    if (!ReadName(text, &at, &id_)) return Reading::No();
    if (const Reading marker = Expect(text, kArguments, &at); marker.is != Reading::Is::kDone) {
      return marker;
    }
    at = SkipSpace(text, at);
    if (at == text.size()) return Reading::More();
    *name = NameIn(id_);
    return text[at] == '{' && !name->empty() ? Reading::Done(at) : Reading::No();
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kTail);
  }

 private:
  std::string id_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeKimiSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<KimiSyntax>();
}

}  // namespace folkmoot
