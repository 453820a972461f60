// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/methods.h"

#include <algorithm>
#include <array>

namespace folkmoot::jinja {
namespace {

constexpr std::array<std::string_view, 5> kDictMethods = {"items", "keys", "values", "get", "copy"};
constexpr std::array<std::string_view, 5> kDictMutators = {"clear", "pop", "popitem", "setdefault",
                                                           "update"};
constexpr std::array<std::string_view, 3> kListMethods = {"index", "count", "copy"};
constexpr std::array<std::string_view, 8> kListMutators = {"append", "clear",  "extend",  "insert",
                                                           "pop",    "remove", "reverse", "sort"};

template <typename Names>
bool Has(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::StatusOr<Value> View(std::string_view view_name, std::vector<Value> items) {
  FM_ASSIGN_OR_RETURN(Value view, Value::Sequence(SequenceType::kView, std::move(items)));
  // The sequence was made a moment ago and nobody else has it yet.
  const_cast<SequenceObject&>(view.sequence()).view_name = view_name;
  return view;
}

absl::StatusOr<Value> CallDictMethod(const Value& object, std::string_view name,
                                     const Arguments& arguments, Budget* budget) {
  const DictObject& dict = object.dict();
  if (name == "get") {
    FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                        BoundArguments::Bind(name, arguments, {"key", "default"}, 1));
    if (!arguments.named.empty()) return InvalidArgument("get() takes no keyword arguments");
    if (!IsHashable(*bound.Get(0))) {
      return InvalidArgument("unhashable type: '{}'", TypeName(*bound.Get(0)));
    }
    FM_ASSIGN_OR_RETURN(const Value* found, FindKey(dict, *bound.Get(0), budget));
    if (found != nullptr) return *found;
    return bound.Has(1) ? *bound.Get(1) : Value::None();
  }
  FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind(name, arguments, {}));
  if (name == "copy") return object;  // values never change: the same one will do
  FM_RETURN_IF_ERROR(budget->Steps(dict.items.size()));
  std::vector<Value> items;
  items.reserve(dict.items.size());
  for (const auto& [key, value] : dict.items) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      FM_ASSIGN_OR_RETURN(Value pair, Value::Sequence(SequenceType::kTuple, {key, value}));
      items.push_back(std::move(pair));
    }
  }
  return View(name == "keys"     ? "dict_keys"
              : name == "values" ? "dict_values"
                                 : "dict_items",
              std::move(items));
}

absl::StatusOr<Value> CallListMethod(const Value& object, std::string_view name,
                                     const Arguments& arguments, Budget* budget) {
  if (name == "copy") {
    FM_ASSIGN_OR_RETURN(const BoundArguments none, BoundArguments::Bind(name, arguments, {}));
    return object;
  }
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind(name, arguments, {"value"}, 1));
  const std::vector<Value>& items = object.sequence().items;
  int64_t count = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    FM_ASSIGN_OR_RETURN(const bool same, Equal(items[i], *bound.Get(0), budget));
    if (same && name == "index") return Value::Int(static_cast<int64_t>(i));
    if (same) ++count;
  }
  if (name == "index") return InvalidArgument("the value is not in the list");
  return Value::Int(count);
}

// loop.cycle(a, b, ...).
absl::StatusOr<Value> CallLoopMethod(const Value& object, const Arguments& arguments) {
  if (arguments.positional.empty()) return InvalidArgument("cycle() wants values");
  return arguments.positional[object.loop().index % arguments.positional.size()];
}

bool IsListOrTuple(const Value& object) {
  return object.IsSequence(SequenceType::kList) || object.IsSequence(SequenceType::kTuple);
}

}  // namespace

bool HasMethod(const Value& object, std::string_view name) {
  if (object.Is(Kind::kString)) return HasTextMethod(name);
  if (object.Is(Kind::kDict)) return Has(kDictMethods, name);
  if (object.IsSequence(SequenceType::kList)) return Has(kListMethods, name);
  if (IsListOrTuple(object)) return name == "index" || name == "count";
  return object.Is(Kind::kLoop) && name == "cycle";
}

bool IsMutator(const Value& object, std::string_view name) {
  if (object.Is(Kind::kDict)) return Has(kDictMutators, name);
  return object.IsSequence(SequenceType::kList) && Has(kListMutators, name);
}

absl::StatusOr<Value> CallMethod(const Value& object, std::string_view name,
                                 const Arguments& arguments, Budget* budget) {
  if (object.Is(Kind::kString)) return CallTextMethod(object, name, arguments, budget);
  if (object.Is(Kind::kDict)) return CallDictMethod(object, name, arguments, budget);
  if (object.Is(Kind::kLoop)) return CallLoopMethod(object, arguments);
  return CallListMethod(object, name, arguments, budget);
}

}  // namespace folkmoot::jinja
