// SPDX-License-Identifier: Apache-2.0
// Formats that write a call as JSON or in another way, with the same markers.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

class EitherSyntax : public CallSyntax {
 public:
  // `opening` stands in front of the first call behind a marker, and may be empty; a brace behind
  // it says that the call is JSON, and so are those that follow without an opening.
  EitherSyntax(std::string_view opening, std::unique_ptr<CallSyntax> json,
               std::unique_ptr<CallSyntax> other)
      : opening_(opening), json_(std::move(json)), other_(std::move(other)), now_(json_.get()) {}

  std::span<const std::string_view> begins() const override { return json_->begins(); }
  std::string_view end() const override { return json_->end(); }

  Reading ReadHead(std::string_view text, bool last, std::string* name,
                   std::string* arguments) override {
    size_t at = 0;
    if (Expect(text, opening_, &at).is == Reading::Is::kDone) {
      at = SkipSpace(text, at);
      if (at == text.size()) return Reading::More();
      now_ = text[at] == '{' ? json_.get() : other_.get();
    }
    return now_->ReadHead(text, last, name, arguments);
  }
  Reading ReadArguments(std::string_view text, bool last, std::string* json) override {
    return now_->ReadArguments(text, last, json);
  }
  Reading ReadTail(std::string_view text, bool last) override { return now_->ReadTail(text, last); }

 private:
  const std::string_view opening_;
  const std::unique_ptr<CallSyntax> json_, other_;
  CallSyntax* now_;  // of the call that is read
};

}  // namespace folkmoot
