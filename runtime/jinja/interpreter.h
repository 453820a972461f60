// SPDX-License-Identifier: Apache-2.0
// Runs a template's tree.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/ast.h"

namespace folkmoot::jinja {

// Variables of a loop's pass, a macro's call or a block. Reads go outwards, writes stay here.
struct Scope {
  Scope* parent = nullptr;  // null: the root is next
  std::vector<std::pair<int, Value>> variables;
  bool captured = false;  // a macro remembers this scope

  void Set(int name, Value value);
};

// One rendering, one thread. `program` and `budget` must outlive it.
class Interpreter {
 public:
  // `root` holds the values of the program's names, undefined where there is none.
  Interpreter(const Program& program, std::vector<Value> root, Budget* budget,
              std::chrono::system_clock::time_point now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  absl::StatusOr<Text> Run();
  // After an error: where, and whether the template itself raised it.
  int line() const { return line_; }
  bool raised() const { return raised_; }

 private:
  enum class Flow : uint8_t { kNormal, kBreak, kContinue };
  using FlowOr = absl::StatusOr<Flow>;
  using ValueOr = absl::StatusOr<Value>;

  // A scope that ends with the block of C++ it is declared in, unless a macro remembers it.
  class Frame;
  // A level of recursion.
  class Level;

  // Statements: interpreter.cc.
  FlowOr RunBody(const Body& body, Scope* scope);
  FlowOr RunNode(const Node& node, Scope* scope);
  FlowOr RunIf(const Node& node, Scope* scope);
  FlowOr RunFor(const Node& node, Scope* scope);
  FlowOr RunPasses(const Node& node, const std::shared_ptr<LoopObject>& loop, Scope* scope);
  FlowOr RunWith(const Node& node, Scope* scope);
  absl::Status RunSet(const Node& node, Scope* scope);
  absl::Status RunFilterBlock(const Node& node, Scope* scope);
  absl::Status RunCallBlock(const Node& node, Scope* scope);
  absl::StatusOr<std::vector<Value>> LoopItems(const Node& node, Scope* scope);
  // What `body` writes, in a scope of its own.
  absl::StatusOr<Text> Capture(const Body& body, Scope* scope);
  ValueOr FilterText(const Expr* filter, Text text, Scope* scope);
  absl::Status Assign(const Expr& target, Value value, Scope* scope);
  absl::Status AssignTuple(const Expr& target, const Value& value, Scope* scope);
  absl::Status AssignAttribute(const Expr& target, Value value, Scope* scope);
  void Define(int name, Value value, Scope* scope);
  absl::Status Print(const Value& value);

  // Expressions: interpreter_expressions.cc.
  ValueOr Eval(const Expr& expr, Scope* scope);
  ValueOr EvalDeep(const Expr& expr, Scope* scope);
  ValueOr EvalItems(const Expr& expr, Scope* scope);
  ValueOr EvalDict(const Expr& expr, Scope* scope);
  ValueOr EvalSlice(const Expr& expr, Scope* scope);
  ValueOr EvalConcat(const Expr& expr, Scope* scope);
  ValueOr EvalCompare(const Expr& expr, Scope* scope);
  ValueOr EvalConditional(const Expr& expr, Scope* scope);
  ValueOr EvalBinary(const Expr& expr, Scope* scope);
  const Value* Find(int name, const Scope* scope) const;
  ValueOr EvalName(const Expr& expr, const Scope* scope);

  // Calls: interpreter_calls.cc.
  ValueOr EvalCall(const Expr& expr, Scope* scope, const Value* caller = nullptr);
  ValueOr EvalFilter(const Expr& expr, Scope* scope);
  ValueOr EvalTest(const Expr& expr, Scope* scope);
  absl::StatusOr<Arguments> EvalArguments(const std::vector<ArgumentNode>& nodes, Scope* scope);
  ValueOr Call(const Value& callee, const Arguments& arguments);
  ValueOr CallBuiltin(Builtin builtin, const Arguments& arguments);
  ValueOr CallMacro(const CallableObject& macro, const Arguments& arguments);
  absl::Status BindParameters(const MacroNode& macro, const Arguments& arguments, Scope* scope);
  absl::Status BindSurplus(const MacroNode& macro, std::vector<Value> positional,
                           std::vector<std::pair<Value, Value>> named, Scope* scope);
  ValueOr MakeNamespace(const Arguments& arguments);
  Value MakeMacro(const MacroNode& node, Scope* scope);

  const Program& program_;
  std::vector<Value> root_;
  Budget* budget_;
  std::chrono::system_clock::time_point now_;
  Text* out_ = nullptr;
  const Value* block_text_ = nullptr;  // what kBlockText stands for
  int line_ = 1;
  bool raised_ = false;
  // Kept to the end, so that macros may point at them and no chain of them is freed recursively.
  std::vector<std::unique_ptr<Scope>> kept_scopes_;
  std::vector<std::shared_ptr<NamespaceObject>> namespaces_;
};

// Counts a level of recursion while it lives.
class Interpreter::Level {
 public:
  explicit Level(Budget* budget) : budget_(budget), status_(budget->Enter()) {}
  ~Level() { budget_->Leave(); }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  const absl::Status& status() const { return status_; }

 private:
  Budget* budget_;
  absl::Status status_;
};

class Interpreter::Frame {
 public:
  Frame(Interpreter* interpreter, Scope* parent)
      : interpreter_(interpreter), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
  }
  ~Frame() {
    if (scope_->captured) interpreter_->kept_scopes_.push_back(std::move(scope_));
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  Scope* get() const { return scope_.get(); }

 private:
  Interpreter* interpreter_;
  std::unique_ptr<Scope> scope_;
};

}  // namespace folkmoot::jinja
