// SPDX-License-Identifier: Apache-2.0
// The values of a template, with the meaning that Python gives them.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/budget.h"
#include "runtime/jinja/text.h"

namespace folkmoot::jinja {

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSequence,
  kDict,
  kNamespace,
  kLoop,
  kCallable,
};

// What Python would call the sequence: it decides printing, truth and what may be done with it.
enum class SequenceType : uint8_t { kList, kTuple, kRange, kView, kGenerator };

struct StringObject;
struct SequenceObject;
struct DictObject;
struct NamespaceObject;
struct LoopObject;
struct CallableObject;

// A small handle; objects behind it are shared and, but for namespaces and loops, never change.
// One rendering, one thread.
class Value {
 public:
  Value() = default;  // undefined
  static Value Undefined(std::string hint);
  static Value None() { return Value(Kind::kNone); }
  static Value Bool(bool value);
  static Value Int(int64_t value, bool outside = false);
  static Value Float(double value, bool outside = false);
  // An integer beyond int64, which only JSON brings: to arithmetic it is a float.
  static Value LargeInt(uint64_t value, bool outside);
  static Value String(Text text, bool markup = false);
  // Nesting deeper than kMaxNesting is refused, so that walks and destructors stay shallow.
  static absl::StatusOr<Value> Sequence(SequenceType type, std::vector<Value> items);
  static absl::StatusOr<Value> List(std::vector<Value> items) {
    return Sequence(SequenceType::kList, std::move(items));
  }
  static absl::StatusOr<Value> Dict(std::vector<std::pair<Value, Value>> items);
  static Value Namespace(std::shared_ptr<NamespaceObject> object);
  static absl::StatusOr<Value> Loop(std::shared_ptr<LoopObject> object);
  static Value Callable(std::shared_ptr<const CallableObject> object);

  static constexpr int kMaxNesting = 100;

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool is_number() const {  // as Python's numbers.Number, booleans included
    return Is(Kind::kBool) || Is(Kind::kInt) || Is(Kind::kFloat);
  }
  bool is_integer() const { return Is(Kind::kBool) || Is(Kind::kInt); }
  // Whether a number came from outside the template; strings know it byte by byte.
  bool outside() const { return outside_; }

  // Each wants the kind of its name.
  bool as_bool() const { return scalar_.integer != 0; }
  int64_t as_int() const { return scalar_.integer; }  // also of kBool
  double as_double() const {                          // of all numbers
    return Is(Kind::kFloat) ? scalar_.real : static_cast<double>(scalar_.integer);
  }
  std::optional<uint64_t> large_int() const;  // of a kFloat that is one
  const Text& text() const;
  std::string_view view() const { return text().view(); }
  bool is_markup() const;  // false too when it is no string
  const SequenceObject& sequence() const;
  const DictObject& dict() const;
  NamespaceObject& name_space() const;
  LoopObject& loop() const;
  const CallableObject& callable() const;
  std::string_view undefined_hint() const;
  const void* identity() const { return object_.get(); }

  bool IsSequence(SequenceType type) const;
  bool Truth() const;
  int nesting() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kUndefined;
  bool outside_ = false;
  union Scalar {
    int64_t integer = 0;
    double real;
  } scalar_;
  std::shared_ptr<const void> object_;
};

struct StringObject {
  Text text;
  bool markup = false;  // Markup of markupsafe: "+" and "%" escape what they add to it
};

struct SequenceObject {
  SequenceType type = SequenceType::kList;
  std::vector<Value> items;
  int nesting = 1;
  std::string_view view_name;     // "dict_items", ... of a kView
  mutable bool consumed = false;  // a generator gives its items once
};

struct DictObject {
  std::vector<std::pair<Value, Value>> items;
  absl::flat_hash_map<std::string_view, size_t> index;  // of the string keys, when there are many
  int nesting = 1;

  const Value* Find(std::string_view key) const;
};

struct NamespaceObject {
  std::vector<std::pair<std::string, Value>> attributes;

  const Value* Find(std::string_view name) const;
};

struct LoopObject {
  std::shared_ptr<const std::vector<Value>> items;
  size_t index = 0;
  int nesting = 1;
};

struct MacroNode;
struct Scope;
// Functions of the sandbox that a template can name.
enum class Builtin : uint8_t {
  kNone,
  kRange,
  kNamespace,
  kDict,
  kRaiseException,
  kStrftimeNow,
};

// A macro with the scope it was written in, a method with its object, or a builtin.
struct CallableObject {
  Builtin builtin = Builtin::kNone;
  const MacroNode* macro = nullptr;
  Scope* scope = nullptr;  // the interpreter keeps it alive
  std::optional<Value> self;
  std::string method;
};

// Python's `type(x).__name__`, for messages.
std::string_view TypeName(const Value& value);

// ==. Charges a step for each pair of items.
absl::StatusOr<bool> Equal(const Value& a, const Value& b, Budget* budget);
// -1, 0, 1; InvalidArgument for types without an order.
absl::StatusOr<int> Compare(const Value& a, const Value& b, Budget* budget);
// What a for loop would see: items, keys, characters. InvalidArgument: not iterable.
absl::StatusOr<std::vector<Value>> Items(const Value& value, Budget* budget);
// len(). InvalidArgument: has none.
absl::StatusOr<size_t> Length(const Value& value);
// `needle in haystack`.
absl::StatusOr<bool> Contains(const Value& haystack, const Value& needle, Budget* budget);
// The value under a key of any kind, or null. Unhashable keys are found nowhere.
absl::StatusOr<const Value*> FindKey(const DictObject& dict, const Value& key, Budget* budget);
bool IsHashable(const Value& value);

}  // namespace folkmoot::jinja
