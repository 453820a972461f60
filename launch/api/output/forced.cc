// SPDX-License-Identifier: Apache-2.0
// What the constraints of request/tool_fields.cc make a model write, whatever its own format is:
//   required   [{"name": "get_weather", "parameters": {"city": "Paris"}}, ...]
//   named      {"city": "Paris"}
#include "launch/api/output/json_call.h"
#include "launch/api/output/output_parser.h"

namespace folkmoot {
namespace {

class RequiredSyntax : public CallSyntax {
 public:
  std::span<const std::string_view> begins() const override { return {}; }
  bool at_start() const override { return true; }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    const size_t begin = SkipSpace(text, 0);
    if (begin == text.size()) return Reading::More();
    const size_t from = in_list_ ? 0 : begin + 1;
    if (!in_list_ && text[begin] != '[') return Reading::No();
    Reading reading = call_.ReadHead(text.substr(from), last, name, arguments);
    if (reading.is != Reading::Is::kDone) return reading;
    in_list_ = true;
    reading.length += from;
    return reading;
  }
  Reading ReadTail(std::string_view text, bool last) override {
    return call_.ReadListEnd(text, last);
  }

 private:
  JsonCall call_;
  bool in_list_ = false;
};

class NamedSyntax : public CallSyntax {
 public:
  explicit NamedSyntax(std::string name) : name_(std::move(name)) {}

  std::span<const std::string_view> begins() const override { return {}; }
  bool at_start() const override { return true; }

  Reading ReadHead(std::string_view text, bool /*last*/, std::string* name,
                   std::string* /*arguments*/) override {
    const size_t begin = SkipSpace(text, 0);
    if (begin == text.size()) return Reading::More();
    if (text[begin] != '{') return Reading::No();
    *name = name_;
    return Reading::Done(begin);
  }
  Reading ReadTail(std::string_view /*text*/, bool /*last*/) override { return Reading::Done(0); }

 private:
  const std::string name_;
};

}  // namespace

std::unique_ptr<CallSyntax> MakeForcedSyntax(const OutputRules& rules) {
  if (rules.choice == ToolChoice::kNamed) return std::make_unique<NamedSyntax>(rules.named_tool);
  return std::make_unique<RequiredSyntax>();
}

}  // namespace folkmoot
