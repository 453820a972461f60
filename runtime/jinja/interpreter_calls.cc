// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/jinja/access.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/globals.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/methods.h"
#include "runtime/jinja/template_tests.h"
#include "runtime/jinja/value_text.h"

namespace folkmoot::jinja {

absl::StatusOr<Arguments> Interpreter::EvalArguments(const std::vector<ArgumentNode>& nodes,
                                                     Scope* scope) {
  Arguments arguments;
  arguments.positional.reserve(nodes.size());
  for (const ArgumentNode& node : nodes) {
    FM_ASSIGN_OR_RETURN(Value value, Eval(*node.value, scope));
    switch (node.kind) {
      case ArgumentNode::Kind::kPositional:
        arguments.positional.push_back(std::move(value));
        break;
      case ArgumentNode::Kind::kKeyword:
        arguments.named.emplace_back(node.name, std::move(value));
        break;
      case ArgumentNode::Kind::kStar: {
        FM_ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, budget_));
        for (Value& item : items) arguments.positional.push_back(std::move(item));
        break;
      }
      case ArgumentNode::Kind::kDoubleStar:
        if (!value.Is(Kind::kDict)) {
          return InvalidArgument("'**' wants a mapping, not {}", TypeName(value));
        }
        for (const auto& [key, item] : value.dict().items) {
          if (!key.Is(Kind::kString)) return InvalidArgument("keywords must be strings");
          arguments.named.emplace_back(key.text().bytes(), item);
        }
        break;
    }
  }
  return arguments;
}

// `caller` is handed to the macro as its argument of that name.
absl::StatusOr<Value> Interpreter::EvalCall(const Expr& expr, Scope* scope, const Value* caller) {
  const Expr& callee_expr = *expr.children[0];
  if (callee_expr.kind == ExprKind::kAttribute) {  // without a detour over a method object
    FM_ASSIGN_OR_RETURN(const Value object, Eval(*callee_expr.children[0], scope));
    if (HasMethod(object, callee_expr.text)) {
      FM_ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expr.arguments, scope));
      line_ = expr.line;
      return CallMethod(object, callee_expr.text, arguments, budget_);
    }
    FM_ASSIGN_OR_RETURN(const Value callee, GetAttribute(object, callee_expr.text, budget_));
    FM_ASSIGN_OR_RETURN(Arguments arguments, EvalArguments(expr.arguments, scope));
    if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
    line_ = expr.line;
    return Call(callee, arguments);
  }
  FM_ASSIGN_OR_RETURN(const Value callee, Eval(callee_expr, scope));
  FM_ASSIGN_OR_RETURN(Arguments arguments, EvalArguments(expr.arguments, scope));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  line_ = expr.line;
  return Call(callee, arguments);
}

absl::StatusOr<Value> Interpreter::Call(const Value& callee, const Arguments& arguments) {
  if (callee.Is(Kind::kUndefined)) return InvalidArgument("{}", callee.undefined_hint());
  if (!callee.Is(Kind::kCallable)) {
    return InvalidArgument("'{}' object is not callable", TypeName(callee));
  }
  const CallableObject& function = callee.callable();
  if (function.self) return CallMethod(*function.self, function.method, arguments, budget_);
  if (function.macro != nullptr) return CallMacro(function, arguments);
  return CallBuiltin(function.builtin, arguments);
}

absl::StatusOr<Value> Interpreter::CallBuiltin(Builtin builtin, const Arguments& arguments) {
  switch (builtin) {
    case Builtin::kRange:
      return Range(arguments, budget_);
    case Builtin::kNamespace:
      return MakeNamespace(arguments);
    case Builtin::kDict: {
      FM_ASSIGN_OR_RETURN(auto items, DictItems("dict", arguments));
      return Value::Dict(std::move(items));
    }
    case Builtin::kStrftimeNow:
      return FormatNow(arguments, now_);
    case Builtin::kRaiseException: {
      FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                          BoundArguments::Bind("raise_exception", arguments, {"message"}, 1));
      FM_ASSIGN_OR_RETURN(const Text message, ToText(*bound.Get(0), budget_));
      raised_ = true;
      return InvalidArgument("{}", message.view());
    }
    case Builtin::kNone:
      break;
  }
  return InvalidArgument("this object cannot be called");
}

absl::StatusOr<Value> Interpreter::MakeNamespace(const Arguments& arguments) {
  FM_ASSIGN_OR_RETURN(const auto items, DictItems("namespace", arguments));
  FM_RETURN_IF_ERROR(budget_->Steps(items.size() + 1));
  auto object = std::make_shared<NamespaceObject>();
  for (const auto& [key, value] : items) {
    if (!key.Is(Kind::kString)) return InvalidArgument("a namespace's names must be strings");
    if (key.view().starts_with('_')) {
      return InvalidArgument("names of a namespace's attributes do not begin with '_' ('{}')",
                             key.view());
    }
    object->attributes.emplace_back(key.text().bytes(), value);
  }
  namespaces_.push_back(object);
  return Value::Namespace(std::move(object));
}

Value Interpreter::MakeMacro(const MacroNode& node, Scope* scope) {
  for (Scope* at = scope; at != nullptr && !at->captured; at = at->parent) at->captured = true;
  auto callable = std::make_shared<CallableObject>();
  callable->macro = &node;
  callable->scope = scope;
  return Value::Callable(std::move(callable));
}

absl::StatusOr<Value> Interpreter::CallMacro(const CallableObject& macro,
                                             const Arguments& arguments) {
  const Level level(budget_);
  FM_RETURN_IF_ERROR(level.status());
  const Frame frame(this, macro.scope);
  FM_RETURN_IF_ERROR(BindParameters(*macro.macro, arguments, frame.get()));
  Text text;
  Text* const outer = std::exchange(out_, &text);
  const FlowOr flow = RunBody(macro.macro->body, frame.get());
  out_ = outer;
  if (!flow.ok()) return flow.status();
  return Value::String(std::move(text));
}

absl::Status Interpreter::BindParameters(const MacroNode& macro, const Arguments& arguments,
                                         Scope* scope) {
  const size_t given = std::min(arguments.positional.size(), macro.parameters.size());
  std::vector<std::pair<Value, Value>> surplus;
  std::vector<const Value*> named(macro.parameters.size(), nullptr);
  bool has_caller = false;
  for (const auto& [name, value] : arguments.named) {
    const auto found =
        std::find_if(macro.parameters.begin(), macro.parameters.end(),
                     [&, &name = name](const auto& parameter) { return parameter.text == name; });
    const size_t index = static_cast<size_t>(found - macro.parameters.begin());
    if (found != macro.parameters.end()) {
      if (index < given) return InvalidArgument("macro '{}' got '{}' twice", macro.name, name);
      named[index] = &value;
    } else if (name == "caller" && macro.caller >= 0) {
      scope->Set(macro.caller, value);
      has_caller = true;
    } else if (macro.kwargs >= 0) {
      surplus.emplace_back(Value::String(Text::Trusted(name)), value);
    } else {
      return InvalidArgument("macro '{}' takes no keyword argument '{}'", macro.name, name);
    }
  }
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const MacroNode::Parameter& parameter = macro.parameters[i];
    if (i < given) {
      scope->Set(parameter.name, arguments.positional[i]);
    } else if (named[i] != nullptr) {
      scope->Set(parameter.name, *named[i]);
    } else if (parameter.default_value) {
      FM_ASSIGN_OR_RETURN(Value value, Eval(*parameter.default_value, scope));
      scope->Set(parameter.name, std::move(value));
    } else {
      scope->Set(parameter.name,
                 Value::Undefined(fmt::format("parameter '{}' was not provided", parameter.text)));
    }
  }
  if (macro.caller >= 0 && !has_caller) {
    scope->Set(macro.caller, Value::Undefined("no caller defined"));
  }
  std::vector<Value> rest(arguments.positional.begin() + static_cast<std::ptrdiff_t>(given),
                          arguments.positional.end());
  return BindSurplus(macro, std::move(rest), std::move(surplus), scope);
}

absl::Status Interpreter::BindSurplus(const MacroNode& macro, std::vector<Value> positional,
                                      std::vector<std::pair<Value, Value>> named, Scope* scope) {
  if (macro.varargs < 0 && !positional.empty()) {
    return InvalidArgument("macro '{}' takes not more than {} arguments", macro.name,
                           macro.parameters.size());
  }
  if (macro.varargs >= 0) {
    FM_ASSIGN_OR_RETURN(Value value, Value::Sequence(SequenceType::kTuple, std::move(positional)));
    scope->Set(macro.varargs, std::move(value));
  }
  if (macro.kwargs >= 0) {
    FM_ASSIGN_OR_RETURN(Value value, Value::Dict(std::move(named)));
    scope->Set(macro.kwargs, std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::EvalFilter(const Expr& expr, Scope* scope) {
  FM_ASSIGN_OR_RETURN(const Value value, Eval(*expr.children[0], scope));
  FM_ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expr.arguments, scope));
  line_ = expr.line;
  if (expr.filter == nullptr) return InvalidArgument("no filter named '{}'", expr.text);
  return expr.filter->function(value, arguments, budget_);
}

absl::StatusOr<Value> Interpreter::EvalTest(const Expr& expr, Scope* scope) {
  FM_ASSIGN_OR_RETURN(const Value value, Eval(*expr.children[0], scope));
  FM_ASSIGN_OR_RETURN(const Arguments arguments, EvalArguments(expr.arguments, scope));
  line_ = expr.line;
  if (expr.test == nullptr) return InvalidArgument("no test named '{}'", expr.text);
  FM_ASSIGN_OR_RETURN(const bool holds, expr.test->function(value, arguments, budget_));
  return Value::Bool(holds);
}

}  // namespace folkmoot::jinja
