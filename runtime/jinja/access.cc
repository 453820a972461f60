// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/access.h"

#include <algorithm>

#include "runtime/jinja/ast.h"
#include "runtime/jinja/methods.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

Value Missing(const Value& object, std::string_view name) {
  return Value::Undefined(fmt::format("'{} object' has no attribute '{}'", TypeName(object), name));
}

Value LoopAttribute(const Value& object, std::string_view name) {
  const LoopObject& loop = object.loop();
  const size_t size = loop.items->size();
  const auto integer = [](size_t value) { return Value::Int(static_cast<int64_t>(value)); };
  if (name == "index") return integer(loop.index + 1);
  if (name == "index0") return integer(loop.index);
  if (name == "revindex") return integer(size - loop.index);
  if (name == "revindex0") return integer(size - loop.index - 1);
  if (name == "first") return Value::Bool(loop.index == 0);
  if (name == "last") return Value::Bool(loop.index + 1 == size);
  if (name == "length") return integer(size);
  if (name == "depth") return Value::Int(1);  // only recursive loops go deeper
  if (name == "depth0") return Value::Int(0);
  if (name == "previtem") {
    if (loop.index > 0) return (*loop.items)[loop.index - 1];
    return Value::Undefined("there is no previous item");
  }
  if (name == "nextitem") {
    if (loop.index + 1 < size) return (*loop.items)[loop.index + 1];
    return Value::Undefined("there is no next item");
  }
  return Missing(object, name);
}

Value Method(const Value& object, std::string_view name) {
  auto callable = std::make_shared<CallableObject>();
  callable->self = object;
  callable->method = name;
  return Value::Callable(std::move(callable));
}

// The value at `index` of a string or sequence; negative ones count from the end.
absl::StatusOr<Value> Indexed(const Value& object, int64_t index, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const size_t length, Length(object));
  const int64_t size = static_cast<int64_t>(length);
  const int64_t position = index < 0 ? index + size : index;
  if (position < 0 || position >= size) {
    return Value::Undefined(fmt::format("{} object has no element {}", TypeName(object), index));
  }
  if (object.Is(Kind::kSequence)) return object.sequence().items[static_cast<size_t>(position)];
  FM_RETURN_IF_ERROR(budget->TextBytes(object.view().size()));
  size_t at = 0;
  for (int64_t i = 0; i < position; ++i) at += ReadUtf8(object.view(), at).length;
  return Value::String(object.text().Part(at, at + ReadUtf8(object.view(), at).length),
                       object.is_markup());
}

struct SliceBounds {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

// Python's PySlice_AdjustIndices.
absl::StatusOr<SliceBounds> Bounds(const Value& start, const Value& stop, const Value& step,
                                   size_t length) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (bound->Is(Kind::kUndefined)) return InvalidArgument("{}", bound->undefined_hint());
    if (!bound->Is(Kind::kNone) && !bound->is_integer()) {
      return InvalidArgument("slice indices must be integers or None");
    }
  }
  const int64_t size = static_cast<int64_t>(length);
  SliceBounds bounds;
  if (!step.Is(Kind::kNone)) bounds.step = step.as_int();
  if (bounds.step == 0) return InvalidArgument("slice step cannot be zero");
  const bool backwards = bounds.step < 0;
  const auto adjust = [&](const Value& bound, int64_t otherwise) {
    if (bound.Is(Kind::kNone)) return otherwise;
    int64_t index = bound.as_int();
    if (index < 0) {
      index += size;
      if (index < 0) index = backwards ? -1 : 0;
    } else if (index >= size) {
      index = backwards ? size - 1 : size;
    }
    return index;
  };
  bounds.start = adjust(start, backwards ? size - 1 : 0);
  bounds.stop = adjust(stop, backwards ? -1 : size);
  return bounds;
}

// Calls `take` with each index that the slice names, in order.
template <typename Take>
void ForEachIndex(const SliceBounds& bounds, Take take) {
  int64_t i = bounds.start;
  while (bounds.step > 0 ? i < bounds.stop : i > bounds.stop) {
    take(static_cast<size_t>(i));
    if (__builtin_add_overflow(i, bounds.step, &i)) return;
  }
}

}  // namespace

absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name, Budget* budget) {
  if (object.Is(Kind::kUndefined)) return InvalidArgument("{}", object.undefined_hint());
  if (name.starts_with("__")) return Missing(object, name);
  if (HasMethod(object, name)) return Method(object, name);
  if (IsMutator(object, name)) {
    return Value::Undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, TypeName(object)));
  }
  const Value* found = nullptr;
  if (object.Is(Kind::kDict)) {
    FM_RETURN_IF_ERROR(budget->Steps(1));
    found = object.dict().Find(name);
  } else if (object.Is(Kind::kNamespace)) {
    found = object.name_space().Find(name);
  } else if (object.Is(Kind::kLoop)) {
    return LoopAttribute(object, name);
  } else if (object.Is(Kind::kCallable) && object.callable().macro != nullptr && name == "name") {
    return Value::String(Text::Trusted(object.callable().macro->name));
  }
  return found != nullptr ? *found : Missing(object, name);
}

absl::StatusOr<Value> GetItem(const Value& object, const Value& key, Budget* budget) {
  if (object.Is(Kind::kUndefined)) return InvalidArgument("{}", object.undefined_hint());
  const bool indexable = object.Is(Kind::kString) ||
                         (object.Is(Kind::kSequence) && !object.IsSequence(SequenceType::kView) &&
                          !object.IsSequence(SequenceType::kGenerator));
  if (object.Is(Kind::kDict)) {
    FM_ASSIGN_OR_RETURN(const Value* found, FindKey(object.dict(), key, budget));
    if (found != nullptr) return *found;
  } else if (indexable && key.is_integer()) {
    return Indexed(object, key.as_int(), budget);
  }
  if (!key.Is(Kind::kString)) {
    return Value::Undefined(fmt::format("{} object has no such element", TypeName(object)));
  }
  return GetAttribute(object, key.view(), budget);
}

absl::StatusOr<Value> Slice(const Value& object, const Value& start, const Value& stop,
                            const Value& step, Budget* budget) {
  if (object.Is(Kind::kUndefined)) return InvalidArgument("{}", object.undefined_hint());
  const bool is_string = object.Is(Kind::kString);
  if (!is_string && (!object.Is(Kind::kSequence) || object.IsSequence(SequenceType::kView) ||
                     object.IsSequence(SequenceType::kGenerator))) {
    return InvalidArgument("'{}' object cannot be sliced", TypeName(object));
  }
  FM_ASSIGN_OR_RETURN(const size_t length, Length(object));
  FM_ASSIGN_OR_RETURN(const SliceBounds bounds, Bounds(start, stop, step, length));
  if (!is_string) {
    const std::vector<Value>& items = object.sequence().items;
    FM_RETURN_IF_ERROR(budget->Steps(length / 4));
    std::vector<Value> part;
    ForEachIndex(bounds, [&](size_t i) { part.push_back(items[i]); });
    return Value::Sequence(object.sequence().type, std::move(part));
  }
  const Text& text = object.text();
  FM_RETURN_IF_ERROR(budget->TextBytes(text.size()));
  std::vector<size_t> offsets;  // of each character, and the end
  offsets.reserve(length + 1);
  for (size_t at = 0; at < text.size(); at += ReadUtf8(text.view(), at).length) {
    offsets.push_back(at);
  }
  offsets.push_back(text.size());
  if (bounds.step == 1) {
    if (bounds.stop <= bounds.start) return Value::String(Text(), object.is_markup());
    return Value::String(text.Part(offsets[static_cast<size_t>(bounds.start)],
                                   offsets[static_cast<size_t>(bounds.stop)]),
                         object.is_markup());
  }
  Text part;
  ForEachIndex(bounds, [&](size_t i) { part.AppendPart(text, offsets[i], offsets[i + 1]); });
  return Value::String(std::move(part), object.is_markup());
}

}  // namespace folkmoot::jinja
