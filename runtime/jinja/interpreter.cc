// SPDX-License-Identifier: Apache-2.0
// Statements. Scoping is Jinja's: `if` opens no scope; loops, macros and capturing blocks do, and
// what they set is gone at their end.
#include "runtime/jinja/interpreter.h"

#include <algorithm>

#include "runtime/jinja/value_text.h"

namespace folkmoot::jinja {

void Scope::Set(int name, Value value) {
  for (auto& [known, old] : variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const Program& program, std::vector<Value> root, Budget* budget,
                         std::chrono::system_clock::time_point now)
    : program_(program), root_(std::move(root)), budget_(budget), now_(now) {}

Interpreter::~Interpreter() {
  // A namespace may hold itself: what they hold is let go first, all at once.
  std::vector<std::vector<std::pair<std::string, Value>>> held;
  for (const auto& object : namespaces_) held.push_back(std::move(object->attributes));
}

absl::StatusOr<Text> Interpreter::Run() {
  Text out;
  out_ = &out;
  FM_ASSIGN_OR_RETURN(const Flow flow, RunBody(program_.body, nullptr));
  static_cast<void>(flow);  // the parser lets no break out of its loop
  return out;
}

Interpreter::FlowOr Interpreter::RunBody(const Body& body, Scope* scope) {
  for (const auto& node : body) {
    FM_ASSIGN_OR_RETURN(const Flow flow, RunNode(*node, scope));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::FlowOr Interpreter::RunNode(const Node& node, Scope* scope) {
  line_ = node.line;
  FM_RETURN_IF_ERROR(budget_->Steps(1));
  switch (node.kind) {
    case NodeKind::kText:
      FM_RETURN_IF_ERROR(budget_->CheckText(out_->size() + node.text.size()));
      FM_RETURN_IF_ERROR(budget_->TextBytes(node.text.size()));
      out_->Append(node.text);
      return Flow::kNormal;
    case NodeKind::kOutput: {
      FM_ASSIGN_OR_RETURN(const Value value, Eval(*node.expr, scope));
      FM_RETURN_IF_ERROR(Print(value));
      return Flow::kNormal;
    }
    case NodeKind::kIf:
      return RunIf(node, scope);
    case NodeKind::kFor:
      return RunFor(node, scope);
    case NodeKind::kSet:
    case NodeKind::kSetBlock:
      FM_RETURN_IF_ERROR(RunSet(node, scope));
      return Flow::kNormal;
    case NodeKind::kMacro:
      Define(node.name, MakeMacro(*node.macro, scope), scope);
      return Flow::kNormal;
    case NodeKind::kCallBlock:
      FM_RETURN_IF_ERROR(RunCallBlock(node, scope));
      return Flow::kNormal;
    case NodeKind::kFilterBlock:
      FM_RETURN_IF_ERROR(RunFilterBlock(node, scope));
      return Flow::kNormal;
    case NodeKind::kGeneration: {
      const Level level(budget_);
      FM_RETURN_IF_ERROR(level.status());
      const Frame frame(this, scope);
      return RunBody(node.body, frame.get());
    }
    case NodeKind::kWith:
      return RunWith(node, scope);
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Interpreter::FlowOr Interpreter::RunIf(const Node& node, Scope* scope) {
  const Level level(budget_);
  FM_RETURN_IF_ERROR(level.status());
  for (const Branch& branch : node.branches) {
    if (branch.condition) {
      FM_ASSIGN_OR_RETURN(const Value condition, Eval(*branch.condition, scope));
      if (!condition.Truth()) continue;
    }
    return RunBody(branch.body, scope);
  }
  return Flow::kNormal;
}

absl::StatusOr<std::vector<Value>> Interpreter::LoopItems(const Node& node, Scope* scope) {
  FM_ASSIGN_OR_RETURN(const Value sequence, Eval(*node.expr, scope));
  FM_ASSIGN_OR_RETURN(std::vector<Value> items, Items(sequence, budget_));
  if (!node.condition) return items;
  std::vector<Value> chosen;
  for (Value& item : items) {
    const Frame frame(this, scope);
    FM_RETURN_IF_ERROR(Assign(*node.target, item, frame.get()));
    FM_ASSIGN_OR_RETURN(const Value condition, Eval(*node.condition, frame.get()));
    if (condition.Truth()) chosen.push_back(std::move(item));
  }
  return chosen;
}

Interpreter::FlowOr Interpreter::RunFor(const Node& node, Scope* scope) {
  const Level level(budget_);
  FM_RETURN_IF_ERROR(level.status());
  FM_ASSIGN_OR_RETURN(std::vector<Value> items, LoopItems(node, scope));
  if (items.empty()) {
    const Frame frame(this, scope);
    return RunBody(node.else_body, frame.get());
  }
  auto loop = std::make_shared<LoopObject>();
  loop->items = std::make_shared<const std::vector<Value>>(std::move(items));
  return RunPasses(node, loop, scope);
}

Interpreter::FlowOr Interpreter::RunPasses(const Node& node,
                                           const std::shared_ptr<LoopObject>& loop, Scope* scope) {
  Value loop_value;
  if (program_.loop_name >= 0) {
    FM_ASSIGN_OR_RETURN(loop_value, Value::Loop(loop));
  }
  for (size_t i = 0; i < loop->items->size(); ++i) {
    FM_RETURN_IF_ERROR(budget_->Steps(1));
    loop->index = i;
    const Frame frame(this, scope);
    if (program_.loop_name >= 0) frame.get()->Set(program_.loop_name, loop_value);
    FM_RETURN_IF_ERROR(Assign(*node.target, (*loop->items)[i], frame.get()));
    FM_ASSIGN_OR_RETURN(const Flow flow, RunBody(node.body, frame.get()));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNormal;
}

Interpreter::FlowOr Interpreter::RunWith(const Node& node, Scope* scope) {
  const Level level(budget_);
  FM_RETURN_IF_ERROR(level.status());
  const Frame frame(this, scope);
  for (const auto& [target, expr] : node.targets_and_values) {
    FM_ASSIGN_OR_RETURN(Value value, Eval(*expr, scope));
    FM_RETURN_IF_ERROR(Assign(*target, std::move(value), frame.get()));
  }
  return RunBody(node.body, frame.get());
}

absl::Status Interpreter::RunSet(const Node& node, Scope* scope) {
  if (node.kind == NodeKind::kSet) {
    FM_ASSIGN_OR_RETURN(Value value, Eval(*node.expr, scope));
    return Assign(*node.target, std::move(value), scope);
  }
  FM_ASSIGN_OR_RETURN(Text text, Capture(node.body, scope));
  FM_ASSIGN_OR_RETURN(Value value, FilterText(node.expr.get(), std::move(text), scope));
  return Assign(*node.target, std::move(value), scope);
}

absl::Status Interpreter::RunFilterBlock(const Node& node, Scope* scope) {
  FM_ASSIGN_OR_RETURN(Text text, Capture(node.body, scope));
  FM_ASSIGN_OR_RETURN(const Value value, FilterText(node.expr.get(), std::move(text), scope));
  return Print(value);
}

absl::Status Interpreter::RunCallBlock(const Node& node, Scope* scope) {
  const Frame frame(this, scope);
  const Value caller = MakeMacro(*node.macro, frame.get());
  FM_ASSIGN_OR_RETURN(const Value value, EvalCall(*node.expr, scope, &caller));
  return Print(value);
}

absl::StatusOr<Text> Interpreter::Capture(const Body& body, Scope* scope) {
  const Level level(budget_);
  FM_RETURN_IF_ERROR(level.status());
  Text text;
  Text* const outer = std::exchange(out_, &text);
  const Frame frame(this, scope);
  const FlowOr flow = RunBody(body, frame.get());
  out_ = outer;
  if (!flow.ok()) return flow.status();
  return text;
}

absl::StatusOr<Value> Interpreter::FilterText(const Expr* filter, Text text, Scope* scope) {
  const Value value = Value::String(std::move(text));
  if (filter == nullptr) return value;
  const Value* const outer = std::exchange(block_text_, &value);
  ValueOr filtered = Eval(*filter, scope);
  block_text_ = outer;
  return filtered;
}

void Interpreter::Define(int name, Value value, Scope* scope) {
  if (scope == nullptr) {
    root_[static_cast<size_t>(name)] = std::move(value);
  } else {
    scope->Set(name, std::move(value));
  }
}

absl::Status Interpreter::Assign(const Expr& target, Value value, Scope* scope) {
  if (target.kind == ExprKind::kTuple) return AssignTuple(target, value, scope);
  if (target.kind == ExprKind::kNamespaceRef) {
    return AssignAttribute(target, std::move(value), scope);
  }
  Define(target.name, std::move(value), scope);
  return absl::OkStatus();
}

absl::Status Interpreter::AssignTuple(const Expr& target, const Value& value, Scope* scope) {
  FM_ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, budget_));
  if (items.size() != target.children.size()) {
    return InvalidArgument("cannot unpack {} values into {} names", items.size(),
                           target.children.size());
  }
  for (size_t i = 0; i < items.size(); ++i) {
    FM_RETURN_IF_ERROR(Assign(*target.children[i], std::move(items[i]), scope));
  }
  return absl::OkStatus();
}

absl::Status Interpreter::AssignAttribute(const Expr& target, Value value, Scope* scope) {
  const Value* object = Find(target.name, scope);
  if (object == nullptr || !object->Is(Kind::kNamespace)) {
    return InvalidArgument("cannot assign attribute '{}' on an object that is no namespace",
                           target.text);
  }
  if (target.text.starts_with('_')) {
    return InvalidArgument("names of a namespace's attributes do not begin with '_' ('{}')",
                           target.text);
  }
  for (auto& [name, old] : object->name_space().attributes) {
    if (name == target.text) {
      old = std::move(value);
      return absl::OkStatus();
    }
  }
  FM_RETURN_IF_ERROR(budget_->Steps(object->name_space().attributes.size()));
  object->name_space().attributes.emplace_back(target.text, std::move(value));
  return absl::OkStatus();
}

absl::Status Interpreter::Print(const Value& value) {
  if (value.Is(Kind::kString)) {
    FM_RETURN_IF_ERROR(budget_->TextBytes(value.view().size()));
    FM_RETURN_IF_ERROR(budget_->CheckText(out_->size() + value.view().size()));
    out_->Append(value.text());
    return absl::OkStatus();
  }
  FM_ASSIGN_OR_RETURN(const Text text, ToText(value, budget_));
  FM_RETURN_IF_ERROR(budget_->CheckText(out_->size() + text.size()));
  out_->Append(text);
  return absl::OkStatus();
}

}  // namespace folkmoot::jinja
