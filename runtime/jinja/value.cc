// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/value.h"

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

// From this many keys on, a dict has an index.
constexpr size_t kIndexedKeys = 12;

absl::Status TooNested() {
  return ResourceExhausted("the template nests values deeper than {} levels", Value::kMaxNesting);
}

}  // namespace

Value Value::Undefined(std::string hint) {
  Value value(Kind::kUndefined);
  value.object_ = std::make_shared<const std::string>(std::move(hint));
  return value;
}
Value Value::Bool(bool b) {
  Value value(Kind::kBool);
  value.scalar_.integer = b ? 1 : 0;
  return value;
}
Value Value::Int(int64_t i, bool outside) {
  Value value(Kind::kInt);
  value.scalar_.integer = i;
  value.outside_ = outside;
  return value;
}
Value Value::Float(double d, bool outside) {
  Value value(Kind::kFloat);
  value.scalar_.real = d;
  value.outside_ = outside;
  return value;
}
Value Value::LargeInt(uint64_t number, bool outside) {
  Value value = Float(static_cast<double>(number), outside);
  value.object_ = std::make_shared<const uint64_t>(number);
  return value;
}
std::optional<uint64_t> Value::large_int() const {
  if (!Is(Kind::kFloat) || object_ == nullptr) return std::nullopt;
  return *static_cast<const uint64_t*>(object_.get());
}
Value Value::String(Text text, bool markup) {
  Value value(Kind::kString);
  value.object_ = std::make_shared<const StringObject>(StringObject{std::move(text), markup});
  return value;
}
absl::StatusOr<Value> Value::Sequence(SequenceType type, std::vector<Value> items) {
  auto object = std::make_shared<SequenceObject>();
  object->type = type;
  for (const Value& item : items) object->nesting = std::max(object->nesting, 1 + item.nesting());
  if (object->nesting > kMaxNesting) return TooNested();
  object->items = std::move(items);
  Value value(Kind::kSequence);
  value.object_ = std::move(object);
  return value;
}
absl::StatusOr<Value> Value::Dict(std::vector<std::pair<Value, Value>> items) {
  auto object = std::make_shared<DictObject>();
  for (const auto& [key, item] : items) {
    object->nesting = std::max({object->nesting, 1 + item.nesting(), 1 + key.nesting()});
  }
  if (object->nesting > kMaxNesting) return TooNested();
  object->items = std::move(items);
  if (object->items.size() >= kIndexedKeys) {
    for (size_t i = 0; i < object->items.size(); ++i) {
      const Value& key = object->items[i].first;
      if (key.Is(Kind::kString)) object->index.emplace(key.view(), i);
    }
  }
  Value value(Kind::kDict);
  value.object_ = std::move(object);
  return value;
}
Value Value::Namespace(std::shared_ptr<NamespaceObject> object) {
  Value value(Kind::kNamespace);
  value.object_ = std::move(object);
  return value;
}
absl::StatusOr<Value> Value::Loop(std::shared_ptr<LoopObject> object) {
  for (const Value& item : *object->items) {
    object->nesting = std::max(object->nesting, 1 + item.nesting());
  }
  if (object->nesting > kMaxNesting) return TooNested();
  Value value(Kind::kLoop);
  value.object_ = std::move(object);
  return value;
}
Value Value::Callable(std::shared_ptr<const CallableObject> object) {
  Value value(Kind::kCallable);
  value.object_ = std::move(object);
  return value;
}

const Text& Value::text() const { return static_cast<const StringObject*>(object_.get())->text; }
bool Value::is_markup() const {
  return Is(Kind::kString) && static_cast<const StringObject*>(object_.get())->markup;
}
const SequenceObject& Value::sequence() const {
  return *static_cast<const SequenceObject*>(object_.get());
}
const DictObject& Value::dict() const { return *static_cast<const DictObject*>(object_.get()); }
// Namespaces and loops are created mutable; only the shared handle is const.
NamespaceObject& Value::name_space() const {
  return *const_cast<NamespaceObject*>(static_cast<const NamespaceObject*>(object_.get()));
}
LoopObject& Value::loop() const {
  return *const_cast<LoopObject*>(static_cast<const LoopObject*>(object_.get()));
}
const CallableObject& Value::callable() const {
  return *static_cast<const CallableObject*>(object_.get());
}
std::string_view Value::undefined_hint() const {
  if (!object_) return "a value is undefined";
  return *static_cast<const std::string*>(object_.get());
}

bool Value::IsSequence(SequenceType type) const {
  return Is(Kind::kSequence) && sequence().type == type;
}

int Value::nesting() const {
  if (Is(Kind::kSequence)) return sequence().nesting;
  if (Is(Kind::kDict)) return dict().nesting;
  if (Is(Kind::kLoop)) return loop().nesting;
  if (Is(Kind::kCallable) && callable().self) return 1 + callable().self->nesting();
  return 0;
}

bool Value::Truth() const {
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return scalar_.integer != 0;
    case Kind::kFloat:
      return scalar_.real != 0;
    case Kind::kString:
      return !text().empty();
    case Kind::kSequence:
      return sequence().type == SequenceType::kGenerator || !sequence().items.empty();
    case Kind::kDict:
      return !dict().items.empty();
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kCallable:
      return true;
  }
  return false;
}

const Value* DictObject::Find(std::string_view key) const {
  if (!index.empty()) {
    const auto found = index.find(key);
    return found == index.end() ? nullptr : &items[found->second].second;
  }
  for (const auto& [name, value] : items) {
    if (name.Is(Kind::kString) && name.view() == key) return &value;
  }
  return nullptr;
}

const Value* NamespaceObject::Find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string_view TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return value.large_int() ? "int" : "float";
    case Kind::kString:
      return "str";
    case Kind::kSequence:
      break;
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCallable:
      return "function";
  }
  switch (value.sequence().type) {
    case SequenceType::kList:
      return "list";
    case SequenceType::kTuple:
      return "tuple";
    case SequenceType::kRange:
      return "range";
    case SequenceType::kView:
      return value.sequence().view_name;
    case SequenceType::kGenerator:
      return "generator";
  }
  return "object";
}

bool IsHashable(const Value& value) {
  if (value.Is(Kind::kDict)) return false;
  if (!value.Is(Kind::kSequence)) return true;
  const SequenceObject& sequence = value.sequence();
  if (sequence.type == SequenceType::kTuple) {
    return std::all_of(sequence.items.begin(), sequence.items.end(), IsHashable);
  }
  return sequence.type == SequenceType::kRange || sequence.type == SequenceType::kGenerator;
}

absl::StatusOr<const Value*> FindKey(const DictObject& dict, const Value& key, Budget* budget) {
  if (key.Is(Kind::kString)) {
    if (dict.index.empty()) FM_RETURN_IF_ERROR(budget->Steps(dict.items.size() / 8));
    return dict.Find(key.view());
  }
  for (const auto& [name, value] : dict.items) {
    FM_ASSIGN_OR_RETURN(const bool same, Equal(name, key, budget));
    if (same) return &value;
  }
  return nullptr;
}

absl::StatusOr<size_t> Length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return size_t{0};
    case Kind::kString: {
      const std::string_view text = value.view();  // characters: every byte but continuations
      return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
      }));
    }
    case Kind::kSequence:
      if (value.sequence().type == SequenceType::kGenerator) break;
      return value.sequence().items.size();
    case Kind::kDict:
      return value.dict().items.size();
    case Kind::kLoop:
      return value.loop().items->size();
    default:
      break;
  }
  return InvalidArgument("object of type '{}' has no len()", TypeName(value));
}

absl::StatusOr<std::vector<Value>> Items(const Value& value, Budget* budget) {
  std::vector<Value> items;
  if (value.Is(Kind::kUndefined)) return items;
  if (value.Is(Kind::kSequence)) {
    const SequenceObject& sequence = value.sequence();
    FM_RETURN_IF_ERROR(budget->Steps(sequence.items.size() / 4));
    if (sequence.type == SequenceType::kGenerator && std::exchange(sequence.consumed, true)) {
      return items;
    }
    return sequence.items;
  }
  if (value.Is(Kind::kDict)) {
    FM_RETURN_IF_ERROR(budget->Steps(value.dict().items.size() / 4));
    for (const auto& [key, item] : value.dict().items) items.push_back(key);
    return items;
  }
  if (value.Is(Kind::kString)) {
    const Text& text = value.text();
    FM_RETURN_IF_ERROR(budget->Steps(text.size()));
    for (size_t at = 0; at < text.size();) {
      const size_t next = at + ReadUtf8(text.view(), at).length;
      items.push_back(Value::String(text.Part(at, next)));
      at = next;
    }
    return items;
  }
  return InvalidArgument("'{}' object is not iterable", TypeName(value));
}

absl::StatusOr<bool> Contains(const Value& haystack, const Value& needle, Budget* budget) {
  if (haystack.Is(Kind::kString)) {
    if (!needle.Is(Kind::kString)) {
      return InvalidArgument("'in <string>' requires string as left operand, not {}",
                             TypeName(needle));
    }
    FM_RETURN_IF_ERROR(budget->TextBytes(haystack.view().size()));
    return haystack.view().find(needle.view()) != std::string_view::npos;
  }
  if (haystack.Is(Kind::kDict)) {
    if (!IsHashable(needle)) return InvalidArgument("unhashable type: '{}'", TypeName(needle));
    FM_ASSIGN_OR_RETURN(const Value* found, FindKey(haystack.dict(), needle, budget));
    return found != nullptr;
  }
  if (!haystack.Is(Kind::kUndefined) && !haystack.Is(Kind::kSequence)) {
    return InvalidArgument("argument of type '{}' is not iterable", TypeName(haystack));
  }
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(haystack, budget));
  for (const Value& item : items) {
    FM_ASSIGN_OR_RETURN(const bool same, Equal(item, needle, budget));
    if (same) return true;
  }
  return false;
}

}  // namespace folkmoot::jinja
