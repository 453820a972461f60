// SPDX-License-Identifier: Apache-2.0
// Hunyuan 3:
//   <tool_calls>
//   <tool_call>get_weather<tool_sep>
//   <arg_key>city</arg_key>
//   <arg_value>Paris</arg_value>
//   </tool_call>
//   </tool_calls>
// and Hunyuan 4, without <tool_sep>. Every marker may have an ending that the checkpoint's tokens
// have: <tool_calls:6124c78e>.
#include <array>

#include "launch/api/output/formats.h"
#include "launch/api/output/tagged_arguments.h"

namespace folkmoot {
namespace {

// The markers of one checkpoint. It stays where it is: the lists point into it.
struct HunyuanMarkers {
  explicit HunyuanMarkers(std::string_view suffix)
      : calls(Marker("<tool_calls", suffix)),
        calls_end(Marker("</tool_calls", suffix)),
        call(Marker("<tool_call", suffix)),
        call_end(Marker("</tool_call", suffix)),
        separator(Marker("<tool_sep", suffix)),
        key(Marker("<arg_key", suffix)),
        key_end(Marker("</arg_key", suffix)),
        value(Marker("<arg_value", suffix)),
        value_end(Marker("</arg_value", suffix)) {}
  HunyuanMarkers(const HunyuanMarkers&) = delete;
  HunyuanMarkers& operator=(const HunyuanMarkers&) = delete;

  static std::string Marker(std::string_view stem, std::string_view suffix) {
    return std::string(stem) + std::string(suffix) + ">";
  }

  const std::string calls, calls_end, call, call_end, separator, key, key_end, value, value_end;
  const std::array<std::string_view, 2> begins = {calls, call};
  const std::array<std::string_view, 2> tail = {call_end, calls_end};
};

// The markers come first, so that they are there when the tags are made of them.
class HunyuanSyntax : private HunyuanMarkers, public TaggedSyntax {
 public:
  HunyuanSyntax(std::string_view suffix, const OutputRules& rules)
      : HunyuanMarkers(suffix),
        TaggedSyntax({.begins = HunyuanMarkers::begins,
                      .name_begin = key,
                      .name_end = key_end,
                      .value_begin = value,
                      .value_end = value_end,
                      .end = call_end,
                      .value = ArgumentTags::Value::kPlain,
                      .tail = tail,
                      .next = call},
                     rules) {}

 protected:
  Reading ReadToolName(std::string_view text, std::string* name) const override {
    size_t at = 0;
    // The begin marker was that of the list, or of the call itself.
    if (const Reading first = Expect(text, call, &at); first.is == Reading::Is::kMore) return first;
    at = SkipSpace(text, at);
    if (!ReadName(text, &at, name)) return Reading::No();
    const Reading behind = Expect(text, separator, &at);
    bool more = behind.is == Reading::Is::kMore;
    at = SkipSpace(text, at);
    const std::string_view rest = text.substr(at);
    for (const std::string_view next : {std::string_view(key), std::string_view(call_end)}) {
      if (rest.starts_with(next)) return name->empty() ? Reading::No() : Reading::Done(at);
      more = more || next.starts_with(rest);
    }
    return more ? Reading::More() : Reading::No();
  }
};

}  // namespace

std::unique_ptr<CallSyntax> MakeHunyuanSyntax(const OutputRules& rules) {
  return std::make_unique<HunyuanSyntax>(rules.tools->suffix, rules);
}

}  // namespace folkmoot
