// SPDX-License-Identifier: Apache-2.0
// Statements. The grammar, with its odd corners, is Jinja 3.1's.
#include "runtime/jinja/parser.h"

#include <algorithm>

#include "runtime/jinja/filters.h"

namespace folkmoot::jinja {

absl::StatusOr<Program> TemplateParser::Parse() {
  FM_RETURN_IF_ERROR(ParseBody({}, &program_.body));
  if (!unknown_.empty()) return unknown_[0];
  const auto loop = std::find(program_.names.begin(), program_.names.end(), "loop");
  if (loop != program_.names.end()) {
    program_.loop_name = static_cast<int>(loop - program_.names.begin());
  }
  return std::move(program_);
}

absl::Status TemplateParser::CheckDepth() const {
  if (depth_ <= kMaxDepth) return absl::OkStatus();
  return Error("the template is nested deeper than {} levels", kMaxDepth);
}

bool TemplateParser::IsName(std::string_view name) const {
  return Current().type == TokenType::kName && Current().text == name;
}
bool TemplateParser::IsOperator(std::string_view text) const {
  return Current().type == TokenType::kOperator && Current().text == text;
}
bool TemplateParser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  Advance();
  return true;
}
bool TemplateParser::SkipOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  Advance();
  return true;
}
absl::Status TemplateParser::ExpectOperator(std::string_view text) {
  if (SkipOperator(text)) return absl::OkStatus();
  return Error("expected '{}', found {}", text, Describe());
}
absl::Status TemplateParser::ExpectName(std::string_view name) {
  if (SkipName(name)) return absl::OkStatus();
  return Error("expected '{}', found {}", name, Describe());
}
absl::Status TemplateParser::Expect(TokenType type, std::string_view what) {
  if (Current().type != type) return Error("expected {}, found {}", what, Describe());
  Advance();
  return absl::OkStatus();
}

std::string TemplateParser::Describe() const {
  switch (Current().type) {
    case TokenType::kData:
      return "text";
    case TokenType::kBlockBegin:
      return "'{%'";
    case TokenType::kBlockEnd:
      return "'%}'";
    case TokenType::kVariableBegin:
      return "'{{'";
    case TokenType::kVariableEnd:
      return "'}}'";
    case TokenType::kString:
      return "a string";
    case TokenType::kEnd:
      return "the end of the template";
    default:
      return fmt::format("'{}'", Current().text);
  }
}

int TemplateParser::Intern(std::string_view name) {
  const auto found = std::find(program_.names.begin(), program_.names.end(), name);
  if (found != program_.names.end()) return static_cast<int>(found - program_.names.begin());
  program_.names.emplace_back(name);
  return static_cast<int>(program_.names.size()) - 1;
}

std::unique_ptr<Node> TemplateParser::NewNode(NodeKind kind) const {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->line = Current().line;
  return node;
}

// Up to a tag whose name is one of `ends`, which stays the current token; or to the end of the
// template when there are none.
absl::Status TemplateParser::ParseBody(std::initializer_list<std::string_view> ends, Body* body) {
  const int line = at_ > 0 ? tokens_[at_ - 1].line : 1;  // of the tag that opened it
  while (Current().type != TokenType::kEnd) {
    if (Current().type == TokenType::kData) {
      auto node = NewNode(NodeKind::kText);
      node->text = Text::Trusted(Current().text);
      Advance();
      body->push_back(std::move(node));
      continue;
    }
    const bool is_variable = Current().type == TokenType::kVariableBegin;
    Advance();
    if (is_variable) {
      auto node = NewNode(NodeKind::kOutput);
      FM_ASSIGN_OR_RETURN(node->expr, ParseTuple(true));
      FM_RETURN_IF_ERROR(Expect(TokenType::kVariableEnd, "'}}'"));
      body->push_back(std::move(node));
      continue;
    }
    for (const std::string_view end : ends) {
      if (IsName(end)) return absl::OkStatus();
    }
    FM_ASSIGN_OR_RETURN(std::unique_ptr<Node> node, ParseStatement());
    if (node) body->push_back(std::move(node));
    FM_RETURN_IF_ERROR(Expect(TokenType::kBlockEnd, "'%}'"));
  }
  if (ends.size() == 0) return absl::OkStatus();
  return Error("the template ends where '{}' is due for the block of line {}", *(ends.end() - 1),
               line);
}

// The rest of an opening tag, then the body.
absl::Status TemplateParser::ParseBlock(std::initializer_list<std::string_view> ends, Body* body) {
  SkipOperator(":");
  FM_RETURN_IF_ERROR(Expect(TokenType::kBlockEnd, "'%}'"));
  return ParseBody(ends, body);
}

TemplateParser::NodeOr TemplateParser::ParseStatement() {
  const Level level(&depth_);
  FM_RETURN_IF_ERROR(CheckDepth());
  if (Current().type != TokenType::kName) {
    return Error("expected the name of a statement, found {}", Describe());
  }
  if (IsName("if")) return ParseIf();
  if (IsName("for")) return ParseFor();
  if (IsName("set")) return ParseSet();
  if (IsName("macro")) return ParseMacro();
  if (IsName("call")) return ParseCallBlock();
  if (IsName("filter")) return ParseFilterBlock();
  if (IsName("generation")) return ParseGeneration();
  if (IsName("with")) return ParseWith();
  if (IsName("print")) {
    auto node = NewNode(NodeKind::kOutput);
    Advance();
    FM_ASSIGN_OR_RETURN(node->expr, ParseTuple(true));
    return node;
  }
  if (IsName("break") || IsName("continue")) {
    if (loops_ == 0) return Error("'{}' outside of a loop", Current().text);
    auto node = NewNode(IsName("break") ? NodeKind::kBreak : NodeKind::kContinue);
    Advance();
    return node;
  }
  return Error("unknown statement '{}'", Current().text);
}

TemplateParser::NodeOr TemplateParser::ParseIf() {
  auto node = NewNode(NodeKind::kIf);
  const bool was_soft = std::exchange(soft_, true);
  while (true) {
    const bool is_else = IsName("else");
    Advance();
    Branch branch;
    if (!is_else) {
      FM_ASSIGN_OR_RETURN(branch.condition, ParseTuple(false));
      FM_RETURN_IF_ERROR(ParseBlock({"elif", "else", "endif"}, &branch.body));
    } else {
      FM_RETURN_IF_ERROR(ParseBlock({"endif"}, &branch.body));
    }
    node->branches.push_back(std::move(branch));
    if (SkipName("endif")) break;
  }
  soft_ = was_soft;
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseFor() {
  auto node = NewNode(NodeKind::kFor);
  Advance();
  FM_ASSIGN_OR_RETURN(node->target, ParseTarget(false));
  FM_RETURN_IF_ERROR(ExpectName("in"));
  FM_ASSIGN_OR_RETURN(node->expr, ParseTuple(false));
  if (SkipName("if")) {
    FM_ASSIGN_OR_RETURN(node->condition, ParseExpression());
  }
  if (IsName("recursive")) return Error("recursive loops are not supported; use a macro");
  const bool was_soft = std::exchange(soft_, false);
  ++loops_;
  FM_RETURN_IF_ERROR(ParseBlock({"endfor", "else"}, &node->body));
  --loops_;
  if (SkipName("else")) FM_RETURN_IF_ERROR(ParseBlock({"endfor"}, &node->else_body));
  soft_ = was_soft;
  Advance();
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseSet() {
  auto node = NewNode(NodeKind::kSet);
  Advance();
  FM_ASSIGN_OR_RETURN(node->target, ParseTarget(true));
  if (SkipOperator("=")) {
    FM_ASSIGN_OR_RETURN(node->expr, ParseTuple(true));
    return node;
  }
  node->kind = NodeKind::kSetBlock;
  if (IsOperator("|")) {
    FM_ASSIGN_OR_RETURN(node->expr, ParseFilters(NewExpr(ExprKind::kBlockText)));
  }
  const bool was_soft = std::exchange(soft_, false);
  FM_RETURN_IF_ERROR(ParseBlock({"endset"}, &node->body));
  soft_ = was_soft;
  Advance();
  return node;
}

absl::Status TemplateParser::ParseSignature(MacroNode* macro) {
  FM_RETURN_IF_ERROR(ExpectOperator("("));
  while (!IsOperator(")")) {
    if (!macro->parameters.empty()) FM_RETURN_IF_ERROR(ExpectOperator(","));
    if (Current().type != TokenType::kName) {
      return Error("expected the name of a parameter, found {}", Describe());
    }
    MacroNode::Parameter parameter;
    parameter.text = Current().text;
    parameter.name = Intern(Current().text);
    Advance();
    if (SkipOperator("=")) {
      FM_ASSIGN_OR_RETURN(parameter.default_value, ParseExpression());
    } else if (!macro->parameters.empty() && macro->parameters.back().default_value) {
      return Error("parameter '{}' without a default follows one with a default", parameter.text);
    }
    macro->parameters.push_back(std::move(parameter));
  }
  Advance();
  return absl::OkStatus();
}

absl::Status TemplateParser::ParseMacroBody(std::string_view end, MacroNode* macro) {
  const int loops = std::exchange(loops_, 0);
  const bool was_soft = std::exchange(soft_, false);
  const size_t begin = at_;
  FM_RETURN_IF_ERROR(ParseBlock({end}, &macro->body));
  const auto mentions = [&](std::string_view name) {
    for (size_t i = begin; i < at_; ++i) {
      if (tokens_[i].type == TokenType::kName && tokens_[i].text == name) return Intern(name);
    }
    return -1;
  };
  macro->varargs = mentions("varargs");
  macro->kwargs = mentions("kwargs");
  macro->caller = mentions("caller");
  Advance();
  loops_ = loops;
  soft_ = was_soft;
  return absl::OkStatus();
}

TemplateParser::NodeOr TemplateParser::ParseMacro() {
  auto node = NewNode(NodeKind::kMacro);
  Advance();
  if (Current().type != TokenType::kName) {
    return Error("expected the name of a macro, found {}", Describe());
  }
  node->macro = std::make_unique<MacroNode>();
  node->macro->name = Current().text;
  node->name = Intern(Current().text);
  Advance();
  FM_RETURN_IF_ERROR(ParseSignature(node->macro.get()));
  FM_RETURN_IF_ERROR(ParseMacroBody("endmacro", node->macro.get()));
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseCallBlock() {
  auto node = NewNode(NodeKind::kCallBlock);
  Advance();
  node->macro = std::make_unique<MacroNode>();
  node->macro->name = "caller";
  if (IsOperator("(")) FM_RETURN_IF_ERROR(ParseSignature(node->macro.get()));
  FM_ASSIGN_OR_RETURN(node->expr, ParseExpression());
  if (node->expr->kind != ExprKind::kCall) return Error("'call' wants a call");
  FM_RETURN_IF_ERROR(ParseMacroBody("endcall", node->macro.get()));
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseFilterBlock() {
  auto node = NewNode(NodeKind::kFilterBlock);
  Advance();
  FM_ASSIGN_OR_RETURN(ExprPtr first, ParseFilter(NewExpr(ExprKind::kBlockText)));
  FM_ASSIGN_OR_RETURN(node->expr, ParseFilters(std::move(first)));
  const bool was_soft = std::exchange(soft_, false);
  FM_RETURN_IF_ERROR(ParseBlock({"endfilter"}, &node->body));
  soft_ = was_soft;
  Advance();
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseGeneration() {
  auto node = NewNode(NodeKind::kGeneration);
  Advance();
  const int loops = std::exchange(loops_, 0);
  const bool was_soft = std::exchange(soft_, false);
  FM_RETURN_IF_ERROR(ParseBlock({"endgeneration"}, &node->body));
  loops_ = loops;
  soft_ = was_soft;
  Advance();
  return node;
}

TemplateParser::NodeOr TemplateParser::ParseWith() {
  auto node = NewNode(NodeKind::kWith);
  Advance();
  while (Current().type != TokenType::kBlockEnd) {
    if (!node->targets_and_values.empty()) FM_RETURN_IF_ERROR(ExpectOperator(","));
    FM_ASSIGN_OR_RETURN(ExprPtr target, ParseTargetItem(false));
    FM_RETURN_IF_ERROR(ExpectOperator("="));
    FM_ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    node->targets_and_values.emplace_back(std::move(target), std::move(value));
  }
  FM_RETURN_IF_ERROR(ParseBlock({"endwith"}, &node->body));
  Advance();
  return node;
}

// One name, or namespace.attribute, or a tuple of such.
TemplateParser::ExprOr TemplateParser::ParseTargetItem(bool with_namespace) {
  const Level level(&depth_);
  FM_RETURN_IF_ERROR(CheckDepth());
  if (SkipOperator("(")) {
    FM_ASSIGN_OR_RETURN(ExprPtr target, ParseTarget(with_namespace));
    FM_RETURN_IF_ERROR(ExpectOperator(")"));
    return target;
  }
  static constexpr std::string_view kConstants[] = {"true",  "True", "false",
                                                    "False", "none", "None"};
  if (Current().type != TokenType::kName || std::find(std::begin(kConstants), std::end(kConstants),
                                                      Current().text) != std::end(kConstants)) {
    return Error("cannot assign to {}", Describe());
  }
  ExprPtr target = NewExpr(ExprKind::kName);
  target->name = Intern(Current().text);
  Advance();
  if (with_namespace && SkipOperator(".")) {
    if (Current().type != TokenType::kName) return Error("expected an attribute's name");
    target->kind = ExprKind::kNamespaceRef;
    target->text = Current().text;
    Advance();
  }
  return target;
}

TemplateParser::ExprOr TemplateParser::ParseTarget(bool with_namespace) {
  FM_ASSIGN_OR_RETURN(ExprPtr first, ParseTargetItem(with_namespace));
  if (!IsOperator(",")) return first;
  ExprPtr tuple = NewExpr(ExprKind::kTuple);
  tuple->children.push_back(std::move(first));
  while (SkipOperator(",")) {
    if (Current().type != TokenType::kName && !IsOperator("(")) break;
    if (IsName("in")) break;
    FM_ASSIGN_OR_RETURN(ExprPtr item, ParseTargetItem(with_namespace));
    tuple->children.push_back(std::move(item));
  }
  return Finish(std::move(tuple));
}

}  // namespace folkmoot::jinja
