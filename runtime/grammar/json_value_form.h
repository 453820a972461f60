// SPDX-License-Identifier: Apache-2.0
// JSON values of any content as forms, and the pieces that all JSON forms share.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/grammar/grammar.h"

namespace folkmoot {

// White space: at most one space, after ',' and ':' and nowhere else, so that no output can run
// away in white space. Each piece is made when it is first asked for. `grammar` must outlive it.
class JsonValueForm {
 public:
  explicit JsonValueForm(Grammar* grammar) : grammar_(*grammar) {}

  Grammar::Expr Comma() { return Once(&comma_, &JsonValueForm::MakeComma); }
  Grammar::Expr Colon() { return Once(&colon_, &JsonValueForm::MakeColon); }
  // A character inside a string: as it is, or any escape of one character.
  Grammar::Expr StringCharacter() { return Once(&character_, &JsonValueForm::MakeCharacter); }
  Grammar::Expr String() { return Once(&string_, &JsonValueForm::MakeString); }
  Grammar::Expr Number() { return Once(&number_, &JsonValueForm::MakeNumber); }
  Grammar::Expr Boolean() { return grammar_.OneOf({"true", "false"}); }
  Grammar::Expr Null() { return grammar_.Literal("null"); }
  Grammar::Expr Object() { return grammar_.Call(ObjectRule()); }
  Grammar::Expr Array();
  Grammar::Expr Value();

 private:
  Grammar::Expr Once(std::optional<Grammar::Expr>* slot, Grammar::Expr (JsonValueForm::*make)()) {
    if (!*slot) *slot = (this->*make)();
    return **slot;
  }
  Grammar::Expr MakeComma();
  Grammar::Expr MakeColon();
  Grammar::Expr MakeCharacter();
  Grammar::Expr MakeString();
  Grammar::Expr MakeNumber();
  int32_t ValueRule();
  int32_t ObjectRule();
  int32_t ArrayRule();
  // open (item (, item)*)? close
  Grammar::Expr List(const char* open, Grammar::Expr item, const char* close);

  Grammar& grammar_;
  std::optional<Grammar::Expr> comma_, colon_, character_, string_, number_;
  std::optional<int32_t> value_rule_, object_rule_, array_rule_;
};

}  // namespace folkmoot
