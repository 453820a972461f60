// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/lexer.h"

namespace folkmoot::jinja {

// Jinja's grammar by recursive descent; depth is bounded, so hostile templates are refused before
// the stack ends. Use once.
class TemplateParser {
 public:
  explicit TemplateParser(std::vector<TemplateToken> tokens) : tokens_(std::move(tokens)) {}

  // Errors are InvalidArgument "line N: ...".
  absl::StatusOr<Program> Parse();

  static constexpr int kMaxDepth = 64;    // of brackets and statements inside each other
  static constexpr int kMaxHeight = 250;  // of an expression's tree: operators in a row

 private:
  using ExprOr = absl::StatusOr<ExprPtr>;
  using NodeOr = absl::StatusOr<std::unique_ptr<Node>>;

  // Counts a level of depth while it lives.
  class Level {
   public:
    explicit Level(int* depth) : depth_(depth) { ++*depth_; }
    ~Level() { --*depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int* depth_;
  };

  template <typename... Args>
  absl::Status Error(fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("line {}: {}", Current().line,
                           fmt::format(format, std::forward<Args>(args)...));
  }
  absl::Status CheckDepth() const;

  const TemplateToken& Current() const { return tokens_[at_]; }
  const TemplateToken& Next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void Advance() { at_ = std::min(at_ + 1, tokens_.size() - 1); }
  bool IsName(std::string_view name) const;
  bool IsOperator(std::string_view text) const;
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view text);
  absl::Status ExpectOperator(std::string_view text);
  absl::Status ExpectName(std::string_view name);
  absl::Status Expect(TokenType type, std::string_view what);
  std::string Describe() const;
  int Intern(std::string_view name);

  // Statements: parser.cc.
  absl::Status ParseBody(std::initializer_list<std::string_view> ends, Body* body);
  absl::Status ParseBlock(std::initializer_list<std::string_view> ends, Body* body);
  NodeOr ParseStatement();
  NodeOr ParseIf();
  NodeOr ParseFor();
  NodeOr ParseSet();
  NodeOr ParseMacro();
  NodeOr ParseCallBlock();
  NodeOr ParseFilterBlock();
  NodeOr ParseGeneration();
  NodeOr ParseWith();
  absl::Status ParseSignature(MacroNode* macro);
  absl::Status ParseMacroBody(std::string_view end, MacroNode* macro);
  ExprOr ParseTarget(bool with_namespace);
  ExprOr ParseTargetItem(bool with_namespace);
  std::unique_ptr<Node> NewNode(NodeKind kind) const;

  // Expressions: expression_parser.cc.
  ExprPtr NewExpr(ExprKind kind) const;
  // Sets the height; refuses trees that are too high.
  ExprOr Finish(ExprPtr expr) const;
  ExprOr ParseExpression(bool with_condition = true);
  ExprOr ParseTuple(bool with_condition, bool parentheses = false);
  ExprOr ParseConditional();
  ExprOr ParseOr();
  ExprOr ParseAnd();
  ExprOr ParseNot();
  ExprOr ParseCompare();
  ExprOr ParseSum();
  ExprOr ParseConcat();
  ExprOr ParseProduct();
  ExprOr ParsePower();
  ExprOr ParseUnary(bool with_filter);
  ExprOr Binary(Operator op, ExprPtr left, ExprPtr right);

  // Operands: operand_parser.cc.
  ExprOr ParsePrimary();
  ExprOr ParseNumber();
  ExprOr ParseListOrDict();
  ExprOr ParsePostfix(ExprPtr expr);
  ExprOr ParseFilters(ExprPtr expr);
  ExprOr ParseFilter(ExprPtr expr);
  ExprOr ParseTest(ExprPtr expr);
  ExprOr ParseCall(ExprPtr expr);
  ExprOr ParseSubscript(ExprPtr expr);
  ExprOr ParseSubscriptItem(ExprPtr expr);
  absl::Status ParseArguments(std::vector<ArgumentNode>* arguments);

  std::vector<TemplateToken> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;      // around this place, inside the innermost macro
  bool soft_ = false;  // inside a condition: an unknown filter is an error only when reached
  std::vector<absl::Status> unknown_;  // filters and tests that nobody knows, outside of conditions
  Program program_;
};

}  // namespace folkmoot::jinja
