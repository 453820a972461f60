// SPDX-License-Identifier: Apache-2.0
// Llama 3 and 4: the whole text is a call, or several with semicolons between them:
//   {"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": ...}
// A text may have <|python_tag|> in front of them.
#include <array>

#include "launch/api/output/json_call.h"

namespace folkmoot {
namespace {

constexpr std::array<std::string_view, 1> kBegins = {"<|python_tag|>"};

class LlamaSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return kBegins; }
  bool at_start() const override { return true; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    return call_.ReadHead(text, last, name, arguments);
  }

  Reading ReadTail(std::string_view text, bool last) override {
    const Reading object = call_.ReadEnd(text, last);
    if (object.is == Reading::Is::kMore) return object;
    const size_t next = SkipSpace(text, object.length);
    if (next == text.size()) return last ? object : Reading::More();
    return text[next] == ';' ? Reading::Next(next + 1) : object;
  }

 private:
  JsonCall call_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeLlamaSyntax(const OutputRules& /*rules*/) {
  return std::make_unique<LlamaSyntax>();
}

}  // namespace folkmoot
