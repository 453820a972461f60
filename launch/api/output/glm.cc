// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, 4.6 and 4.7 (the line breaks may be missing):
//   <tool_call>get_weather
//   <arg_key>city</arg_key>
//   <arg_value>Paris</arg_value>
//   </tool_call>
#include <array>

#include "launch/api/output/output_parser.h"
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kBegins = {"<tool_call>"};
constexpr std::array<std::string_view, 1> kTail = {"</tool_call>"};
constexpr ArgumentTags kTags = {.name_begin = "<arg_key>",
                                .name_end = "</arg_key>",
                                .value_begin = "<arg_value>",
                                .value_end = "</arg_value>",
                                .end = "</tool_call>"};

class GlmSyntax : public CallSyntax {
 public:
  explicit GlmSyntax(const OutputRules& rules) : arguments_(kTags, rules.schemas) {}

  std::span<const std::string_view> begins() const override { return kBegins; }
  std::string_view end() const override { return kTags.end; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    size_t at = SkipSpace(text, 0);
    if (!ReadName(text, &at, name)) return Reading::No();
    at = SkipSpace(text, at);
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kTags.name_begin) || rest.starts_with(kTags.end)) {
      if (name->empty()) return Reading::No();
      arguments_.Begin(*name);
      return Reading::Done(at);
    }
    const bool more = kTags.name_begin.starts_with(rest) || kTags.end.starts_with(rest);
    return more ? Reading::More() : Reading::No();
  }
  Reading ReadArguments(std::string_view text, bool /*last*/, std::string* json) override {
    return arguments_.Read(text, json);
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return ReadParts(text, last, kTail);
  }

 private:
  TaggedArguments arguments_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeGlmSyntax(const OutputRules& rules) {
  return std::make_unique<GlmSyntax>(rules);
}

}  // namespace folkmoot
