// SPDX-License-Identifier: Apache-2.0
// Operands: constants and names, and what may follow them (.x [x] (x) |x is x).
#include <charconv>
#include <cstdlib>

#include "runtime/jinja/filters.h"
#include "runtime/jinja/parser.h"
#include "runtime/jinja/template_tests.h"

namespace folkmoot::jinja {

TemplateParser::ExprOr TemplateParser::ParsePrimary() {
  ExprPtr expr = NewExpr(ExprKind::kConstant);
  switch (Current().type) {
    case TokenType::kName: {
      const std::string& name = Current().text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        expr->constant = Value::Bool(name[0] == 't' || name[0] == 'T');
      } else if (name == "none" || name == "None") {
        expr->constant = Value::None();
      } else {
        expr->kind = ExprKind::kName;
        expr->name = Intern(name);
      }
      Advance();
      return expr;
    }
    case TokenType::kString: {
      std::string text;
      for (; Current().type == TokenType::kString; Advance()) text += Current().text;
      expr->constant = Value::String(Text::Trusted(std::move(text)));
      return expr;
    }
    case TokenType::kInteger:
    case TokenType::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (SkipOperator("(")) {
    FM_ASSIGN_OR_RETURN(expr, ParseTuple(true, true));
    FM_RETURN_IF_ERROR(ExpectOperator(")"));
    return expr;
  }
  if (IsOperator("[") || IsOperator("{")) return ParseListOrDict();
  return Error("expected an expression, found {}", Describe());
}

TemplateParser::ExprOr TemplateParser::ParseNumber() {
  ExprPtr expr = NewExpr(ExprKind::kConstant);
  const std::string& digits = Current().text;
  if (Current().type == TokenType::kFloat) {
    expr->constant = Value::Float(std::strtod(digits.c_str(), nullptr));
  } else {
    const bool prefixed = digits.size() > 1 && digits[0] == '0' && (digits[1] & 0x40) != 0;
    const char prefix = prefixed ? static_cast<char>(digits[1] | 0x20) : '\0';
    const int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    const char* begin = digits.data() + (prefixed ? 2 : 0);
    const char* end = digits.data() + digits.size();
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(begin, end, number, base);
    if (error != std::errc() || rest != end) {
      return Error("'{}' is no integer of 64 bits", digits);
    }
    expr->constant = Value::Int(number);
  }
  Advance();
  return expr;
}

TemplateParser::ExprOr TemplateParser::ParseListOrDict() {
  const bool is_list = IsOperator("[");
  const std::string_view end = is_list ? "]" : "}";
  ExprPtr expr = NewExpr(is_list ? ExprKind::kList : ExprKind::kDict);
  Advance();
  while (!IsOperator(end)) {
    if (!expr->children.empty()) {
      FM_RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator(end)) break;
    }
    FM_ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
    expr->children.push_back(std::move(item));
    if (is_list) continue;
    FM_RETURN_IF_ERROR(ExpectOperator(":"));
    FM_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    expr->children.push_back(std::move(value));
  }
  Advance();
  return Finish(std::move(expr));
}

TemplateParser::ExprOr TemplateParser::ParsePostfix(ExprPtr expr) {
  while (true) {
    if (IsOperator(".") || IsOperator("[")) {
      FM_ASSIGN_OR_RETURN(expr, ParseSubscript(std::move(expr)));
    } else if (IsOperator("(")) {
      FM_ASSIGN_OR_RETURN(expr, ParseCall(std::move(expr)));
    } else {
      return expr;
    }
  }
}

TemplateParser::ExprOr TemplateParser::ParseFilters(ExprPtr expr) {
  while (true) {
    if (SkipOperator("|")) {
      FM_ASSIGN_OR_RETURN(expr, ParseFilter(std::move(expr)));
    } else if (IsName("is")) {
      FM_ASSIGN_OR_RETURN(expr, ParseTest(std::move(expr)));
    } else if (IsOperator("(")) {
      FM_ASSIGN_OR_RETURN(expr, ParseCall(std::move(expr)));
    } else {
      return expr;
    }
  }
}

// At the filter's name.
TemplateParser::ExprOr TemplateParser::ParseFilter(ExprPtr expr) {
  ExprPtr filter = NewExpr(ExprKind::kFilter);
  filter->children.push_back(std::move(expr));
  while (true) {
    if (Current().type != TokenType::kName) {
      return Error("expected the name of a filter, found {}", Describe());
    }
    filter->text += Current().text;
    Advance();
    if (!SkipOperator(".")) break;
    filter->text += '.';
  }
  filter->filter = FindFilter(filter->text);
  if (filter->filter == nullptr && !soft_) {
    unknown_.push_back(Error("no filter named '{}'", filter->text));
  }
  if (IsOperator("(")) FM_RETURN_IF_ERROR(ParseArguments(&filter->arguments));
  return Finish(std::move(filter));
}

TemplateParser::ExprOr TemplateParser::ParseTest(ExprPtr expr) {
  ExprPtr test = NewExpr(ExprKind::kTest);
  Advance();
  const bool negated = SkipName("not");
  test->children.push_back(std::move(expr));
  while (true) {
    if (Current().type != TokenType::kName) {
      return Error("expected the name of a test, found {}", Describe());
    }
    test->text += Current().text;
    Advance();
    if (!SkipOperator(".")) break;
    test->text += '.';
  }
  test->test = FindTest(test->text);
  if (test->test == nullptr && !soft_) {
    unknown_.push_back(Error("no test named '{}'", test->text));
  }
  const TokenType next = Current().type;
  const bool starts_value = next == TokenType::kName || next == TokenType::kString ||
                            next == TokenType::kInteger || next == TokenType::kFloat ||
                            IsOperator("[") || IsOperator("{");
  if (IsOperator("(")) {
    FM_RETURN_IF_ERROR(ParseArguments(&test->arguments));
  } else if (starts_value && !IsName("else") && !IsName("or") && !IsName("and")) {
    if (IsName("is")) return Error("tests cannot be chained with 'is'");
    ArgumentNode argument;
    FM_ASSIGN_OR_RETURN(ExprPtr value, ParsePrimary());
    FM_ASSIGN_OR_RETURN(argument.value, ParsePostfix(std::move(value)));
    test->arguments.push_back(std::move(argument));
  }
  FM_ASSIGN_OR_RETURN(test, Finish(std::move(test)));
  if (!negated) return test;
  ExprPtr expr_not = NewExpr(ExprKind::kNot);
  expr_not->children.push_back(std::move(test));
  return Finish(std::move(expr_not));
}

TemplateParser::ExprOr TemplateParser::ParseCall(ExprPtr expr) {
  ExprPtr call = NewExpr(ExprKind::kCall);
  call->children.push_back(std::move(expr));
  FM_RETURN_IF_ERROR(ParseArguments(&call->arguments));
  return Finish(std::move(call));
}

absl::Status TemplateParser::ParseArguments(std::vector<ArgumentNode>* arguments) {
  FM_RETURN_IF_ERROR(ExpectOperator("("));
  bool needs_comma = false;
  bool keywords_only = false;
  while (!IsOperator(")")) {
    if (needs_comma) {
      FM_RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator(")")) break;
    }
    ArgumentNode argument;
    if (SkipOperator("*")) {
      argument.kind = ArgumentNode::Kind::kStar;
    } else if (SkipOperator("**")) {
      argument.kind = ArgumentNode::Kind::kDoubleStar;
    } else if (Current().type == TokenType::kName && Next().type == TokenType::kOperator &&
               Next().text == "=") {
      argument.kind = ArgumentNode::Kind::kKeyword;
      argument.name = Current().text;
      Advance();
      Advance();
    } else if (keywords_only) {
      return Error("an argument without a name follows one with a name");
    }
    if (argument.kind != ArgumentNode::Kind::kPositional) keywords_only = true;
    FM_ASSIGN_OR_RETURN(argument.value, ParseExpression());
    arguments->push_back(std::move(argument));
    needs_comma = true;
  }
  Advance();
  return absl::OkStatus();
}

TemplateParser::ExprOr TemplateParser::ParseSubscript(ExprPtr expr) {
  if (SkipOperator(".")) {
    if (Current().type == TokenType::kInteger) {
      ExprPtr item = NewExpr(ExprKind::kItem);
      FM_ASSIGN_OR_RETURN(ExprPtr index, ParseNumber());
      item->children.push_back(std::move(expr));
      item->children.push_back(std::move(index));
      return Finish(std::move(item));
    }
    if (Current().type != TokenType::kName) {
      return Error("expected an attribute's name, found {}", Describe());
    }
    ExprPtr attribute = NewExpr(ExprKind::kAttribute);
    attribute->text = Current().text;
    Advance();
    attribute->children.push_back(std::move(expr));
    return Finish(std::move(attribute));
  }
  Advance();
  FM_ASSIGN_OR_RETURN(ExprPtr item, ParseSubscriptItem(std::move(expr)));
  FM_RETURN_IF_ERROR(ExpectOperator("]"));
  return item;
}

// Between the brackets of a subscript.
TemplateParser::ExprOr TemplateParser::ParseSubscriptItem(ExprPtr expr) {
  ExprPtr item = NewExpr(ExprKind::kItem);
  item->children.push_back(std::move(expr));
  if (!IsOperator(":")) {
    FM_ASSIGN_OR_RETURN(ExprPtr index, ParseExpression());
    item->children.push_back(std::move(index));
    if (!IsOperator(":")) return Finish(std::move(item));
  } else {
    item->children.push_back(nullptr);
  }
  item->kind = ExprKind::kSlice;
  Advance();
  ExprPtr stop, step;
  if (!IsOperator("]") && !IsOperator(":")) {
    FM_ASSIGN_OR_RETURN(stop, ParseExpression());
  }
  if (SkipOperator(":") && !IsOperator("]")) {
    FM_ASSIGN_OR_RETURN(step, ParseExpression());
  }
  item->children.push_back(std::move(stop));
  item->children.push_back(std::move(step));
  return Finish(std::move(item));
}

}  // namespace folkmoot::jinja
