// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/access.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/value_text.h"

namespace folkmoot::jinja {

const Value* Interpreter::Find(int name, const Scope* scope) const {
  for (; scope != nullptr; scope = scope->parent) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  const Value& value = root_[static_cast<size_t>(name)];
  return value.Is(Kind::kUndefined) && value.identity() == nullptr ? nullptr : &value;
}

absl::StatusOr<Value> Interpreter::EvalName(const Expr& expr, const Scope* scope) {
  if (const Value* value = Find(expr.name, scope)) return *value;
  return Value::Undefined(
      fmt::format("'{}' is undefined", program_.names[static_cast<size_t>(expr.name)]));
}

absl::StatusOr<Value> Interpreter::Eval(const Expr& expr, Scope* scope) {
  FM_RETURN_IF_ERROR(budget_->Steps(1));
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return EvalName(expr, scope);
    case ExprKind::kBlockText:
      return *block_text_;
    default: {
      const Level level(budget_);
      FM_RETURN_IF_ERROR(level.status());
      line_ = expr.line;
      return EvalDeep(expr, scope);
    }
  }
}

// Everything that has parts.
absl::StatusOr<Value> Interpreter::EvalDeep(const Expr& expr, Scope* scope) {
  switch (expr.kind) {
    case ExprKind::kTuple:
    case ExprKind::kList:
      return EvalItems(expr, scope);
    case ExprKind::kDict:
      return EvalDict(expr, scope);
    case ExprKind::kSlice:
      return EvalSlice(expr, scope);
    case ExprKind::kCall:
      return EvalCall(expr, scope);
    case ExprKind::kFilter:
      return EvalFilter(expr, scope);
    case ExprKind::kTest:
      return EvalTest(expr, scope);
    case ExprKind::kConcat:
      return EvalConcat(expr, scope);
    case ExprKind::kCompare:
      return EvalCompare(expr, scope);
    case ExprKind::kConditional:
      return EvalConditional(expr, scope);
    default:
      return EvalBinary(expr, scope);
  }
}

// Operators of one or two operands.
absl::StatusOr<Value> Interpreter::EvalBinary(const Expr& expr, Scope* scope) {
  FM_ASSIGN_OR_RETURN(Value left, Eval(*expr.children[0], scope));
  switch (expr.kind) {
    case ExprKind::kAttribute:
      return GetAttribute(left, expr.text, budget_);
    case ExprKind::kNot:
      return Value::Bool(!left.Truth());
    case ExprKind::kNegative:
      return Negate(left);
    case ExprKind::kPositive:
      if (left.is_number()) return left.Is(Kind::kBool) ? Value::Int(left.as_int()) : left;
      return Negate(left);  // gives the error
    case ExprKind::kAnd:
      return left.Truth() ? Eval(*expr.children[1], scope) : left;
    case ExprKind::kOr:
      return left.Truth() ? left : Eval(*expr.children[1], scope);
    default:
      break;
  }
  FM_ASSIGN_OR_RETURN(const Value right, Eval(*expr.children[1], scope));
  line_ = expr.line;
  if (expr.kind == ExprKind::kItem) return GetItem(left, right, budget_);
  return Arithmetic(expr.op, left, right, budget_);
}

absl::StatusOr<Value> Interpreter::EvalItems(const Expr& expr, Scope* scope) {
  std::vector<Value> items;
  items.reserve(expr.children.size());
  for (const ExprPtr& child : expr.children) {
    FM_ASSIGN_OR_RETURN(Value item, Eval(*child, scope));
    items.push_back(std::move(item));
  }
  return Value::Sequence(expr.kind == ExprKind::kTuple ? SequenceType::kTuple : SequenceType::kList,
                         std::move(items));
}

absl::StatusOr<Value> Interpreter::EvalDict(const Expr& expr, Scope* scope) {
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i < expr.children.size(); i += 2) {
    FM_ASSIGN_OR_RETURN(Value key, Eval(*expr.children[i], scope));
    FM_ASSIGN_OR_RETURN(Value value, Eval(*expr.children[i + 1], scope));
    if (!IsHashable(key)) return InvalidArgument("unhashable type: '{}'", TypeName(key));
    bool replaced = false;
    for (auto& [known, old] : items) {
      FM_ASSIGN_OR_RETURN(const bool same, Equal(known, key, budget_));
      if (same) {
        old = value;
        replaced = true;
      }
    }
    if (!replaced) items.emplace_back(std::move(key), std::move(value));
  }
  return Value::Dict(std::move(items));
}

absl::StatusOr<Value> Interpreter::EvalSlice(const Expr& expr, Scope* scope) {
  std::vector<Value> parts;
  for (const ExprPtr& child : expr.children) {
    if (!child) {
      parts.push_back(Value::None());
      continue;
    }
    FM_ASSIGN_OR_RETURN(Value part, Eval(*child, scope));
    parts.push_back(std::move(part));
  }
  return Slice(parts[0], parts[1], parts[2], parts[3], budget_);
}

absl::StatusOr<Value> Interpreter::EvalConcat(const Expr& expr, Scope* scope) {
  Text text;
  for (const ExprPtr& child : expr.children) {
    FM_ASSIGN_OR_RETURN(const Value value, Eval(*child, scope));
    FM_ASSIGN_OR_RETURN(const Text part, ToText(value, budget_));
    FM_RETURN_IF_ERROR(budget_->TextBytes(part.size()));
    FM_RETURN_IF_ERROR(budget_->CheckText(text.size() + part.size()));
    text.Append(part);
  }
  return Value::String(std::move(text));
}

absl::StatusOr<Value> Interpreter::EvalCompare(const Expr& expr, Scope* scope) {
  FM_ASSIGN_OR_RETURN(Value left, Eval(*expr.children[0], scope));
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    FM_ASSIGN_OR_RETURN(Value right, Eval(*expr.children[i + 1], scope));
    line_ = expr.line;
    FM_ASSIGN_OR_RETURN(const bool holds, Comparison(expr.comparisons[i], left, right, budget_));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Interpreter::EvalConditional(const Expr& expr, Scope* scope) {
  FM_ASSIGN_OR_RETURN(const Value condition, Eval(*expr.children[0], scope));
  if (condition.Truth()) return Eval(*expr.children[1], scope);
  if (expr.children[2]) return Eval(*expr.children[2], scope);
  return Value::Undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace folkmoot::jinja
