// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/operators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "runtime/jinja/value_text.h"

namespace folkmoot::jinja {
namespace {

constexpr std::array<std::string_view, 7> kSymbols = {"+", "-", "*", "/", "//", "%", "** or pow()"};

absl::Status Unsupported(Operator op, const Value& left, const Value& right) {
  for (const Value* value : {&left, &right}) {
    if (value->Is(Kind::kUndefined)) return InvalidArgument("{}", value->undefined_hint());
  }
  return InvalidArgument("unsupported operand types for {}: '{}' and '{}'",
                         kSymbols[static_cast<size_t>(op)], TypeName(left), TypeName(right));
}

absl::Status Overflow() { return InvalidArgument("an integer is outside of 64 bits"); }
absl::Status ZeroDivision() { return InvalidArgument("division by zero"); }

std::optional<int64_t> IntegerPower(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return std::nullopt;
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return std::nullopt;
  }
  return result;
}

absl::StatusOr<Value> IntegerArithmetic(Operator op, int64_t a, int64_t b, bool outside) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kDivide:
      if (b == 0) return ZeroDivision();
      return Value::Float(static_cast<double>(a) / static_cast<double>(b), outside);
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) return ZeroDivision();
      if (b == -1) {
        overflow = op == Operator::kFloorDivide && a == std::numeric_limits<int64_t>::min();
        result = op == Operator::kModulo || overflow ? 0 : -a;
        break;
      }
      int64_t quotient = a / b;
      int64_t rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        --quotient;
        rest += b;
      }
      result = op == Operator::kModulo ? rest : quotient;
      break;
    }
    default: {
      if (b < 0) {
        if (a == 0) return ZeroDivision();
        return Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)), outside);
      }
      const std::optional<int64_t> power = IntegerPower(a, b);
      if (!power) return Overflow();
      result = *power;
    }
  }
  if (overflow) return Overflow();
  return Value::Int(result, outside);
}

absl::StatusOr<Value> FloatArithmetic(Operator op, double a, double b, bool outside) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) return ZeroDivision();
  switch (op) {
    case Operator::kAdd:
      return Value::Float(a + b, outside);
    case Operator::kSubtract:
      return Value::Float(a - b, outside);
    case Operator::kMultiply:
      return Value::Float(a * b, outside);
    case Operator::kDivide:
      return Value::Float(a / b, outside);
    case Operator::kFloorDivide:
      return Value::Float(std::floor(a / b), outside);
    case Operator::kModulo: {
      double rest = std::fmod(a, b);
      if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
      return Value::Float(rest, outside);
    }
    default: {
      const double power = std::pow(a, b);
      if (std::isnan(power) || std::isinf(power)) return Overflow();
      return Value::Float(power, outside);
    }
  }
}

absl::StatusOr<Value> AddStrings(const Value& left, const Value& right, Budget* budget) {
  FM_RETURN_IF_ERROR(budget->TextBytes(left.view().size() + right.view().size()));
  const bool markup = left.is_markup() || right.is_markup();
  Text text = markup ? EscapeHtml(left) : left.text();
  text.Append(markup ? EscapeHtml(right) : right.text());
  return Value::String(std::move(text), markup);
}

absl::StatusOr<Value> Repeat(const Value& value, int64_t times, Budget* budget) {
  const size_t count = static_cast<size_t>(std::max<int64_t>(times, 0));
  const size_t size = value.Is(Kind::kString) ? value.view().size() : value.sequence().items.size();
  size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total)) {
    return ResourceExhausted("the template repeats a value {} times", times);
  }
  if (value.Is(Kind::kString)) {
    FM_RETURN_IF_ERROR(budget->TextBytes(total));
    Text text;
    for (size_t i = 0; total > 0 && i < count; ++i) text.Append(value.text());
    return Value::String(std::move(text), value.is_markup());
  }
  FM_RETURN_IF_ERROR(budget->Steps(total));
  std::vector<Value> items;
  const std::vector<Value>& part = value.sequence().items;
  for (size_t i = 0; total > 0 && i < count; ++i) {
    items.insert(items.end(), part.begin(), part.end());
  }
  return Value::Sequence(value.sequence().type, std::move(items));
}

bool IsListOrTuple(const Value& value) {
  return value.IsSequence(SequenceType::kList) || value.IsSequence(SequenceType::kTuple);
}

}  // namespace

absl::StatusOr<Value> Arithmetic(Operator op, const Value& left, const Value& right,
                                 Budget* budget) {
  if (left.is_number() && right.is_number()) {
    const bool outside = left.outside() || right.outside();
    if (left.is_integer() && right.is_integer()) {
      return IntegerArithmetic(op, left.as_int(), right.as_int(), outside);
    }
    return FloatArithmetic(op, left.as_double(), right.as_double(), outside);
  }
  if (op == Operator::kAdd && left.Is(Kind::kString) && right.Is(Kind::kString)) {
    return AddStrings(left, right, budget);
  }
  if (op == Operator::kAdd && IsListOrTuple(left) && IsListOrTuple(right) &&
      left.sequence().type == right.sequence().type) {
    FM_RETURN_IF_ERROR(
        budget->Steps((left.sequence().items.size() + right.sequence().items.size()) / 4));
    std::vector<Value> items = left.sequence().items;
    items.insert(items.end(), right.sequence().items.begin(), right.sequence().items.end());
    return Value::Sequence(left.sequence().type, std::move(items));
  }
  if (op == Operator::kMultiply) {
    const auto repeats = [](const Value& value) {
      return value.Is(Kind::kString) || IsListOrTuple(value);
    };
    if (repeats(left) && right.is_integer()) return Repeat(left, right.as_int(), budget);
    if (repeats(right) && left.is_integer()) return Repeat(right, left.as_int(), budget);
  }
  if (op == Operator::kModulo && left.Is(Kind::kString)) {
    return PercentFormat(left, right, budget);
  }
  return Unsupported(op, left, right);
}

absl::StatusOr<Value> Negate(const Value& value) {
  if (value.Is(Kind::kFloat)) return Value::Float(-value.as_double(), value.outside());
  if (value.is_integer()) {
    return IntegerArithmetic(Operator::kSubtract, 0, value.as_int(), value.outside());
  }
  if (value.Is(Kind::kUndefined)) return InvalidArgument("{}", value.undefined_hint());
  return InvalidArgument("bad operand type for unary -: '{}'", TypeName(value));
}

absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget* budget) {
  FM_RETURN_IF_ERROR(budget->Steps(1));
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.view() == b.view();
    case Kind::kSequence: {
      const SequenceObject& left = a.sequence();
      const SequenceObject& right = b.sequence();
      if (left.type == SequenceType::kGenerator) return &left == &right;
      if (left.type != right.type || left.items.size() != right.items.size()) return false;
      for (size_t i = 0; i < left.items.size(); ++i) {
        FM_ASSIGN_OR_RETURN(const bool same, Equal(left.items[i], right.items[i], budget));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kDict: {
      if (a.dict().items.size() != b.dict().items.size()) return false;
      for (const auto& [key, value] : a.dict().items) {
        FM_ASSIGN_OR_RETURN(const Value* other, FindKey(b.dict(), key, budget));
        if (other == nullptr) return false;
        FM_ASSIGN_OR_RETURN(const bool same, Equal(value, *other, budget));
        if (!same) return false;
      }
      return true;
    }
    default:
      return a.identity() == b.identity();
  }
}

absl::StatusOr<int> Compare(const Value& a, const Value& b, Budget* budget) {
  FM_RETURN_IF_ERROR(budget->Steps(1));
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return order(a.as_int(), b.as_int());
    return order(a.as_double(), b.as_double());
  }
  if (a.Is(Kind::kString) && b.Is(Kind::kString)) return order(a.view(), b.view());
  if (IsListOrTuple(a) && IsListOrTuple(b) && a.sequence().type == b.sequence().type) {
    const std::vector<Value>& left = a.sequence().items;
    const std::vector<Value>& right = b.sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      FM_ASSIGN_OR_RETURN(const bool same, Equal(left[i], right[i], budget));
      if (!same) return Compare(left[i], right[i], budget);
    }
    return order(left.size(), right.size());
  }
  for (const Value* value : {&a, &b}) {
    if (value->Is(Kind::kUndefined)) return InvalidArgument("{}", value->undefined_hint());
  }
  return InvalidArgument("'<' and '>' are not supported between instances of '{}' and '{}'",
                         TypeName(a), TypeName(b));
}

absl::StatusOr<bool> Comparison(Operator op, const Value& left, const Value& right,
                                Budget* budget) {
  if (op == Operator::kIn || op == Operator::kNotIn) {
    FM_ASSIGN_OR_RETURN(const bool found, Contains(right, left, budget));
    return found == (op == Operator::kIn);
  }
  if (op == Operator::kEqual || op == Operator::kNotEqual) {
    FM_ASSIGN_OR_RETURN(const bool same, Equal(left, right, budget));
    return same == (op == Operator::kEqual);
  }
  const bool has_nan = left.is_number() && right.is_number() &&
                       (std::isnan(left.as_double()) || std::isnan(right.as_double()));
  if (has_nan) return false;
  FM_ASSIGN_OR_RETURN(const int order, Compare(left, right, budget));
  switch (op) {
    case Operator::kLess:
      return order < 0;
    case Operator::kLessEqual:
      return order <= 0;
    case Operator::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

}  // namespace folkmoot::jinja
