// SPDX-License-Identifier: Apache-2.0
// Expressions, from the loosest operator to the tightest.
#include <algorithm>

#include "runtime/jinja/parser.h"

namespace folkmoot::jinja {
namespace {

struct OperatorName {
  std::string_view text;
  Operator op;
};
constexpr OperatorName kComparisons[] = {
    {"==", Operator::kEqual},     {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterEqual}};
constexpr OperatorName kSums[] = {{"+", Operator::kAdd}, {"-", Operator::kSubtract}};
constexpr OperatorName kProducts[] = {{"*", Operator::kMultiply},
                                      {"/", Operator::kDivide},
                                      {"//", Operator::kFloorDivide},
                                      {"%", Operator::kModulo}};

}  // namespace

ExprPtr TemplateParser::NewExpr(ExprKind kind) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = Current().line;
  return expr;
}

TemplateParser::ExprOr TemplateParser::Finish(ExprPtr expr) const {
  int height = 0;
  for (const ExprPtr& child : expr->children) {
    if (child) height = std::max(height, child->height);
  }
  for (const ArgumentNode& argument : expr->arguments) {
    height = std::max(height, argument.value->height);
  }
  expr->height = height + 1;
  if (expr->height <= kMaxHeight) return expr;
  return Error("an expression has more than {} operators on top of each other", kMaxHeight);
}

TemplateParser::ExprOr TemplateParser::ParseExpression(bool with_condition) {
  const Level level(&depth_);
  FM_RETURN_IF_ERROR(CheckDepth());
  return with_condition ? ParseConditional() : ParseOr();
}

TemplateParser::ExprOr TemplateParser::ParseTuple(bool with_condition, bool parentheses) {
  ExprPtr tuple = NewExpr(ExprKind::kTuple);
  bool is_tuple = false;
  const auto at_end = [&] {
    return Current().type == TokenType::kVariableEnd || Current().type == TokenType::kBlockEnd ||
           IsOperator(")");
  };
  while (!at_end()) {
    FM_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression(with_condition));
    tuple->children.push_back(std::move(item));
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !tuple->children.empty()) return std::move(tuple->children[0]);
  if (!is_tuple && !parentheses) return Error("expected an expression, found {}", Describe());
  return Finish(std::move(tuple));
}

TemplateParser::ExprOr TemplateParser::ParseConditional() {
  const bool was_soft = soft_;
  const size_t unknown = unknown_.size();
  FM_ASSIGN_OR_RETURN(ExprPtr expr, ParseOr());
  while (SkipName("if")) {
    soft_ = true;
    unknown_.resize(unknown);  // what stands before the `if` is conditional too
    ExprPtr conditional = NewExpr(ExprKind::kConditional);
    FM_ASSIGN_OR_RETURN(ExprPtr condition, ParseOr());
    ExprPtr otherwise;
    if (SkipName("else")) {
      FM_ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    conditional->children.push_back(std::move(condition));
    conditional->children.push_back(std::move(expr));
    conditional->children.push_back(std::move(otherwise));
    FM_ASSIGN_OR_RETURN(expr, Finish(std::move(conditional)));
  }
  soft_ = was_soft;
  return expr;
}

TemplateParser::ExprOr TemplateParser::ParseOr() {
  FM_ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
  while (SkipName("or")) {
    ExprPtr expr = NewExpr(ExprKind::kOr);
    FM_ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
    expr->children.push_back(std::move(left));
    expr->children.push_back(std::move(right));
    FM_ASSIGN_OR_RETURN(left, Finish(std::move(expr)));
  }
  return left;
}

TemplateParser::ExprOr TemplateParser::ParseAnd() {
  FM_ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
  while (SkipName("and")) {
    ExprPtr expr = NewExpr(ExprKind::kAnd);
    FM_ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
    expr->children.push_back(std::move(left));
    expr->children.push_back(std::move(right));
    FM_ASSIGN_OR_RETURN(left, Finish(std::move(expr)));
  }
  return left;
}

TemplateParser::ExprOr TemplateParser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Level level(&depth_);
  FM_RETURN_IF_ERROR(CheckDepth());
  ExprPtr expr = NewExpr(ExprKind::kNot);
  Advance();
  FM_ASSIGN_OR_RETURN(ExprPtr child, ParseNot());
  expr->children.push_back(std::move(child));
  return Finish(std::move(expr));
}

TemplateParser::ExprOr TemplateParser::ParseCompare() {
  ExprPtr compare = NewExpr(ExprKind::kCompare);
  FM_ASSIGN_OR_RETURN(ExprPtr first, ParseSum());
  compare->children.push_back(std::move(first));
  while (true) {
    const auto found =
        std::find_if(std::begin(kComparisons), std::end(kComparisons),
                     [&](const OperatorName& entry) { return IsOperator(entry.text); });
    if (found != std::end(kComparisons)) {
      compare->comparisons.push_back(found->op);
    } else if (IsName("in")) {
      compare->comparisons.push_back(Operator::kIn);
    } else if (IsName("not") && Next().type == TokenType::kName && Next().text == "in") {
      compare->comparisons.push_back(Operator::kNotIn);
      Advance();
    } else {
      break;
    }
    Advance();
    FM_ASSIGN_OR_RETURN(ExprPtr next, ParseSum());
    compare->children.push_back(std::move(next));
  }
  if (compare->comparisons.empty()) return std::move(compare->children[0]);
  return Finish(std::move(compare));
}

TemplateParser::ExprOr TemplateParser::Binary(Operator op, ExprPtr left, ExprPtr right) {
  ExprPtr expr = NewExpr(ExprKind::kBinary);
  expr->op = op;
  expr->line = left->line;
  expr->children.push_back(std::move(left));
  expr->children.push_back(std::move(right));
  return Finish(std::move(expr));
}

TemplateParser::ExprOr TemplateParser::ParseSum() {
  FM_ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
  while (true) {
    const auto found = std::find_if(std::begin(kSums), std::end(kSums),
                                    [&](const auto& entry) { return IsOperator(entry.text); });
    if (found == std::end(kSums)) return left;
    Advance();
    FM_ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
    FM_ASSIGN_OR_RETURN(left, Binary(found->op, std::move(left), std::move(right)));
  }
}

TemplateParser::ExprOr TemplateParser::ParseConcat() {
  ExprPtr concat = NewExpr(ExprKind::kConcat);
  do {
    FM_ASSIGN_OR_RETURN(ExprPtr part, ParseProduct());
    concat->children.push_back(std::move(part));
  } while (SkipOperator("~"));
  if (concat->children.size() == 1) return std::move(concat->children[0]);
  return Finish(std::move(concat));
}

TemplateParser::ExprOr TemplateParser::ParseProduct() {
  FM_ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
  while (true) {
    const auto found = std::find_if(std::begin(kProducts), std::end(kProducts),
                                    [&](const auto& entry) { return IsOperator(entry.text); });
    if (found == std::end(kProducts)) return left;
    Advance();
    FM_ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
    FM_ASSIGN_OR_RETURN(left, Binary(found->op, std::move(left), std::move(right)));
  }
}

TemplateParser::ExprOr TemplateParser::ParsePower() {
  FM_ASSIGN_OR_RETURN(ExprPtr left, ParseUnary(true));
  while (SkipOperator("**")) {
    FM_ASSIGN_OR_RETURN(ExprPtr right, ParseUnary(true));
    FM_ASSIGN_OR_RETURN(left, Binary(Operator::kPower, std::move(left), std::move(right)));
  }
  return left;
}

TemplateParser::ExprOr TemplateParser::ParseUnary(bool with_filter) {
  ExprPtr expr;
  if (IsOperator("-") || IsOperator("+")) {
    const Level level(&depth_);
    FM_RETURN_IF_ERROR(CheckDepth());
    ExprPtr sign = NewExpr(IsOperator("-") ? ExprKind::kNegative : ExprKind::kPositive);
    Advance();
    FM_ASSIGN_OR_RETURN(ExprPtr child, ParseUnary(false));
    sign->children.push_back(std::move(child));
    FM_ASSIGN_OR_RETURN(expr, Finish(std::move(sign)));
  } else {
    FM_ASSIGN_OR_RETURN(expr, ParsePrimary());
  }
  FM_ASSIGN_OR_RETURN(expr, ParsePostfix(std::move(expr)));
  if (with_filter) return ParseFilters(std::move(expr));
  return expr;
}

}  // namespace folkmoot::jinja
