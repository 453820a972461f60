// SPDX-License-Identifier: Apache-2.0
// The tree of a template. Immutable once parsed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/jinja/value.h"

namespace folkmoot::jinja {

struct FilterEntry;
struct TestEntry;

enum class ExprKind : uint8_t {
  kConstant,
  kName,       // name
  kTuple,      // children
  kList,       // children
  kDict,       // children: key, value, key, value, ...
  kAttribute,  // child 0 . text
  kItem,       // child 0 [ child 1 ]
  kSlice,      // child 0 [ child 1 : child 2 : child 3 ], null where left out
  kCall,       // child 0 ( arguments )
  kFilter,     // child 0 | text ( arguments )
  kTest,       // child 0 is text ( arguments )
  kNot,
  kNegative,
  kPositive,
  kAnd,
  kOr,
  kBinary,        // child 0 op child 1
  kConcat,        // children joined by ~
  kCompare,       // child 0, then child i + 1 compared by comparisons[i]
  kConditional,   // child 1 if child 0 else child 2 (may be null)
  kNamespaceRef,  // an assignment's target: name . text
  kBlockText,     // what the filter of a block is applied to
};

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct ArgumentNode {
  enum class Kind : uint8_t { kPositional, kKeyword, kStar, kDoubleStar };
  Kind kind = Kind::kPositional;
  std::string name;  // of kKeyword
  ExprPtr value;
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  Operator op = Operator::kAdd;
  int line = 0;
  int height = 1;  // of the tree below, itself included
  int name = -1;   // index into Program::names
  std::string text;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<Operator> comparisons;
  std::vector<ArgumentNode> arguments;
  const FilterEntry* filter = nullptr;  // null: unknown, an error if it is ever reached
  const TestEntry* test = nullptr;
};

enum class NodeKind : uint8_t {
  kText,         // text
  kOutput,       // expr
  kIf,           // branches; the last one's condition may be null (else)
  kFor,          // target in expr if condition: body, else_body
  kSet,          // target = expr
  kSetBlock,     // target = body, through expr if there is one
  kMacro,        // macro
  kCallBlock,    // expr is the call, macro the body that becomes `caller`
  kFilterBlock,  // body through expr
  kGeneration,   // body
  kWith,         // targets_and_values, body
  kBreak,
  kContinue,
};

struct Node;
using Body = std::vector<std::unique_ptr<Node>>;

struct MacroNode {
  struct Parameter {
    int name = -1;
    std::string text;
    ExprPtr default_value;  // may be null
  };
  std::string name;
  std::vector<Parameter> parameters;
  // Whether the body reads the variables of these names; without them surplus arguments are errors.
  int varargs = -1;  // index into Program::names, or -1
  int kwargs = -1;
  int caller = -1;
  Body body;
};

struct Branch {
  ExprPtr condition;
  Body body;
};

struct Node {
  NodeKind kind = NodeKind::kText;
  int line = 0;
  int name = -1;  // of the macro
  Text text;
  ExprPtr target;
  ExprPtr expr;
  ExprPtr condition;
  Body body;
  Body else_body;
  std::vector<Branch> branches;
  std::vector<std::pair<ExprPtr, ExprPtr>> targets_and_values;
  std::unique_ptr<MacroNode> macro;
  bool recursive = false;
};

struct Program {
  std::vector<std::string> names;  // every variable that the template mentions
  int loop_name = -1;              // of "loop", if it does
  Body body;
};

}  // namespace folkmoot::jinja
