// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/json_value_form.h"

#include "runtime/check.h"
#include "runtime/grammar/number_form.h"

namespace folkmoot {

Grammar::Expr JsonValueForm::MakeComma() {
  return grammar_.Seq({grammar_.Literal(","), grammar_.Optional(grammar_.Literal(" "))});
}

Grammar::Expr JsonValueForm::MakeColon() {
  return grammar_.Seq({grammar_.Literal(":"), grammar_.Optional(grammar_.Literal(" "))});
}

Grammar::Expr JsonValueForm::MakeCharacter() {
  const auto set = [&](const std::vector<CodePointSet::Range>& ranges) {
    return grammar_.Class(CodePointSet(ranges));
  };
  const Grammar::Expr hex = set({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  const Grammar::Expr d = set({{'D', 'D'}, {'d', 'd'}});
  const Grammar::Expr code_unit =
      grammar_.Alt({grammar_.Seq({set({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}),
                                  hex, hex, hex}),
                    grammar_.Seq({d, set({{'0', '7'}}), hex, hex})});
  const Grammar::Expr surrogate_pair =
      grammar_.Seq({d, set({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), hex, hex, grammar_.Literal("\\u"),
                    d, set({{'C', 'F'}, {'c', 'f'}}), hex, hex});
  const Grammar::Expr escape = grammar_.Seq(
      {grammar_.Literal("\\"),
       grammar_.Alt(
           {grammar_.OneOf({"\"", "\\", "/", "b", "f", "n", "r", "t"}),
            grammar_.Seq({grammar_.Literal("u"), grammar_.Alt({code_unit, surrogate_pair})})})});
  return grammar_.Alt({set({{' ', '!'}, {'#', '['}, {']', CodePointSet::kLast}}), escape});
}

Grammar::Expr JsonValueForm::MakeString() {
  return grammar_.Shared(grammar_.Seq({grammar_.Literal("\""),
                                       grammar_.Repeat(StringCharacter(), 0, Grammar::kNoLimit),
                                       grammar_.Literal("\"")}));
}

Grammar::Expr JsonValueForm::MakeNumber() {
  const absl::StatusOr<Grammar::Expr> form = NumberForm(NumberBounds(), &grammar_);
  FM_CHECK(form.ok());  // there are no bounds that could be wrong
  return *form;
}

Grammar::Expr JsonValueForm::List(const char* open, Grammar::Expr item, const char* close) {
  const Grammar::Expr more = grammar_.Repeat(grammar_.Seq({Comma(), item}), 0, Grammar::kNoLimit);
  return grammar_.Seq({grammar_.Literal(open), grammar_.Optional(grammar_.Seq({item, more})),
                       grammar_.Literal(close)});
}

int32_t JsonValueForm::ValueRule() {
  if (!value_rule_) {
    value_rule_ = grammar_.NewRule();
    grammar_.Define(*value_rule_, grammar_.Alt({String(), Number(), Boolean(), Null(), Object(),
                                                grammar_.Call(ArrayRule())}));
  }
  return *value_rule_;
}

int32_t JsonValueForm::ObjectRule() {
  if (!object_rule_) {
    object_rule_ = grammar_.NewRule();
    const Grammar::Expr member =
        grammar_.Shared(grammar_.Seq({String(), Colon(), grammar_.Call(ValueRule())}));
    grammar_.Define(*object_rule_, List("{", member, "}"));
  }
  return *object_rule_;
}

int32_t JsonValueForm::ArrayRule() {
  if (!array_rule_) {
    array_rule_ = grammar_.NewRule();
    grammar_.Define(*array_rule_, List("[", grammar_.Call(ValueRule()), "]"));
  }
  return *array_rule_;
}

Grammar::Expr JsonValueForm::Value() { return grammar_.Call(ValueRule()); }
Grammar::Expr JsonValueForm::Array() { return grammar_.Call(ArrayRule()); }

}  // namespace folkmoot
