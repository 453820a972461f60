// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/template_tests.h"

#include <algorithm>

#include "runtime/jinja/filters.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/jinja/value_text.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

using Result = absl::StatusOr<bool>;

// A test of the value's kind alone.
template <bool (*property)(const Value&)>
Result Plain(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind("the test", arguments, {}));
  return property(value);
}

bool IsDefined(const Value& v) { return !v.Is(Kind::kUndefined); }
bool IsUndefined(const Value& v) { return v.Is(Kind::kUndefined); }
bool IsNone(const Value& v) { return v.Is(Kind::kNone); }
bool IsBoolean(const Value& v) { return v.Is(Kind::kBool); }
bool IsTrue(const Value& v) { return v.Is(Kind::kBool) && v.as_bool(); }
bool IsFalse(const Value& v) { return v.Is(Kind::kBool) && !v.as_bool(); }
bool IsInteger(const Value& v) { return v.Is(Kind::kInt) || v.large_int().has_value(); }
bool IsFloat(const Value& v) { return v.Is(Kind::kFloat) && !v.large_int(); }
bool IsNumber(const Value& v) { return v.is_number(); }
bool IsString(const Value& v) { return v.Is(Kind::kString); }
bool IsMapping(const Value& v) { return v.Is(Kind::kDict); }
bool IsCallable(const Value& v) { return v.Is(Kind::kCallable) || v.Is(Kind::kLoop); }
bool IsEscaped(const Value& v) { return v.is_markup(); }
bool IsIterable(const Value& v) {
  return v.Is(Kind::kUndefined) || v.Is(Kind::kString) || v.Is(Kind::kSequence) ||
         v.Is(Kind::kDict) || v.Is(Kind::kLoop);
}
// Python's duck test: has a length and [].
bool IsSequenceLike(const Value& v) {
  if (v.Is(Kind::kSequence)) {
    return v.sequence().type != SequenceType::kView &&
           v.sequence().type != SequenceType::kGenerator;
  }
  return v.Is(Kind::kUndefined) || v.Is(Kind::kString) || v.Is(Kind::kDict);
}

template <bool upper>
Result IsCase(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget));
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = ReadUtf8(text.view(), at);
    at += c.length;
    if (upper ? IsLowerCase(c.code) : IsUpperCase(c.code)) return false;
    any = any || (upper ? IsUpperCase(c.code) : IsLowerCase(c.code));
  }
  return any;
}

template <Operator op>
Result Compared(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("the test", arguments, {"other"}, 1));
  return Comparison(op, value, *bound.Get(0), budget);
}

Result DivisibleBy(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("divisibleby", arguments, {"num"}, 1));
  FM_ASSIGN_OR_RETURN(const Value rest,
                      Arithmetic(Operator::kModulo, value, *bound.Get(0), budget));
  return Equal(rest, Value::Int(0), budget);
}

template <int64_t wanted>
Result Parity(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const Value rest,
                      Arithmetic(Operator::kModulo, value, Value::Int(2), budget));
  return Equal(rest, Value::Int(wanted), budget);
}

Result SameAs(const Value& value, const Arguments& arguments, Budget* /*budget*/) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("sameas", arguments, {"other"}, 1));
  const Value& other = *bound.Get(0);
  if (value.kind() != other.kind()) return false;
  if (value.Is(Kind::kNone)) return true;
  if (value.is_integer()) return value.as_int() == other.as_int();
  return value.identity() != nullptr && value.identity() == other.identity();
}

Result IsFilter(const Value& value, const Arguments& /*arguments*/, Budget* /*budget*/) {
  return value.Is(Kind::kString) && FindFilter(value.view()) != nullptr;
}
Result IsTest(const Value& value, const Arguments& /*arguments*/, Budget* /*budget*/) {
  return value.Is(Kind::kString) && FindTest(value.view()) != nullptr;
}

constexpr TestEntry kTests[] = {
    {"defined", Plain<IsDefined>},
    {"undefined", Plain<IsUndefined>},
    {"none", Plain<IsNone>},
    {"boolean", Plain<IsBoolean>},
    {"true", Plain<IsTrue>},
    {"false", Plain<IsFalse>},
    {"integer", Plain<IsInteger>},
    {"float", Plain<IsFloat>},
    {"number", Plain<IsNumber>},
    {"string", Plain<IsString>},
    {"mapping", Plain<IsMapping>},
    {"iterable", Plain<IsIterable>},
    {"sequence", Plain<IsSequenceLike>},
    {"callable", Plain<IsCallable>},
    {"escaped", Plain<IsEscaped>},
    {"lower", IsCase<false>},
    {"upper", IsCase<true>},
    {"odd", Parity<1>},
    {"even", Parity<0>},
    {"divisibleby", DivisibleBy},
    {"sameas", SameAs},
    {"filter", IsFilter},
    {"test", IsTest},
    {"in", Compared<Operator::kIn>},
    {"==", Compared<Operator::kEqual>},
    {"eq", Compared<Operator::kEqual>},
    {"equalto", Compared<Operator::kEqual>},
    {"!=", Compared<Operator::kNotEqual>},
    {"ne", Compared<Operator::kNotEqual>},
    {">", Compared<Operator::kGreater>},
    {"gt", Compared<Operator::kGreater>},
    {"greaterthan", Compared<Operator::kGreater>},
    {">=", Compared<Operator::kGreaterEqual>},
    {"ge", Compared<Operator::kGreaterEqual>},
    {"<", Compared<Operator::kLess>},
    {"lt", Compared<Operator::kLess>},
    {"lessthan", Compared<Operator::kLess>},
    {"<=", Compared<Operator::kLessEqual>},
    {"le", Compared<Operator::kLessEqual>},
};

}  // namespace

const TestEntry* FindTest(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [name](const TestEntry& entry) { return entry.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace folkmoot::jinja
