// SPDX-License-Identifier: Apache-2.0
// Filters over lists and dicts. Those that Jinja writes as generators give generators here too:
// true even when empty, without a length, good for one pass.
#include <algorithm>

#include "runtime/jinja/access.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operators.h"
#include "runtime/jinja/template_tests.h"
#include "runtime/jinja/unicode_case.h"
#include "runtime/tokenizer/utf8.h"

namespace folkmoot::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Result Generator(std::vector<Value> items) {
  return Value::Sequence(SequenceType::kGenerator, std::move(items));
}

// item.a.b for "a.b"; numbers are indexes.
Result Path(const Value& item, const Value& path, Budget* budget) {
  if (path.is_integer()) return GetItem(item, path, budget);
  if (!path.Is(Kind::kString))
    return InvalidArgument("an attribute must be a string or an integer");
  Value value = item;
  std::string_view rest = path.view();
  while (true) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, dot));
    const bool index = !part.empty() && part.size() < 10 &&
                       part.find_first_not_of("0123456789") == std::string::npos;
    const Value key = index ? Value::Int(std::stoi(part)) : Value::String(Text::Trusted(part));
    FM_ASSIGN_OR_RETURN(value, GetItem(value, key, budget));
    if (dot == rest.size()) return value;
    rest.remove_prefix(dot + 1);
  }
}

// The value that sorting and uniqueness look at.
Result SortKey(const Value& item, const Value* attribute, bool case_sensitive, Budget* budget) {
  Value key = item;
  if (attribute != nullptr && !attribute->Is(Kind::kNone)) {
    FM_ASSIGN_OR_RETURN(key, Path(item, *attribute, budget));
  }
  if (case_sensitive || !key.Is(Kind::kString)) return key;
  FM_RETURN_IF_ERROR(budget->TextBytes(key.view().size()));
  return Value::String(ChangeCase(key.text(), CaseChange::kLower));
}

struct Keyed {
  Value key;
  Value item;
};

absl::Status SortKeyed(std::vector<Keyed>* items, bool reverse, Budget* budget) {
  absl::Status error;
  const auto less = [&](const Value& a, const Value& b) {
    if (!error.ok()) return false;
    const absl::StatusOr<int> order = Compare(a, b, budget);
    if (!order.ok()) error = order.status();
    return order.ok() && *order < 0;
  };
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(b.key, a.key) : less(a.key, b.key);
  });
  return error;
}

absl::StatusOr<std::vector<Keyed>> KeyedItems(const std::vector<Value>& items,
                                              const Value* attribute, bool case_sensitive,
                                              Budget* budget) {
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    FM_ASSIGN_OR_RETURN(Value key, SortKey(item, attribute, case_sensitive, budget));
    keyed.push_back({std::move(key), item});
  }
  return keyed;
}

Result Sort(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::Bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  FM_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                      KeyedItems(items, bound.Get(2), bound.Truth(1, false), budget));
  FM_RETURN_IF_ERROR(SortKeyed(&keyed, bound.Truth(0, false), budget));
  std::vector<Value> sorted;
  for (Keyed& item : keyed) sorted.push_back(std::move(item.item));
  return Value::List(std::move(sorted));
}

Result DictSort(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::Bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  if (value.Is(Kind::kUndefined)) return InvalidArgument("{}", value.undefined_hint());
  if (!value.Is(Kind::kDict)) {
    return InvalidArgument("dictsort wants a mapping, not {}", TypeName(value));
  }
  FM_ASSIGN_OR_RETURN(const Text by, bound.String(1, Text::Trusted("key")));
  if (by.view() != "key" && by.view() != "value") {
    return InvalidArgument("dictsort sorts by \"key\" or \"value\"");
  }
  std::vector<Keyed> keyed;
  for (const auto& [name, item] : value.dict().items) {
    FM_ASSIGN_OR_RETURN(Value key, SortKey(by.view() == "key" ? name : item, nullptr,
                                           bound.Truth(0, false), budget));
    FM_ASSIGN_OR_RETURN(Value pair, Value::Sequence(SequenceType::kTuple, {name, item}));
    keyed.push_back({std::move(key), std::move(pair)});
  }
  FM_RETURN_IF_ERROR(SortKeyed(&keyed, bound.Truth(2, false), budget));
  std::vector<Value> sorted;
  for (Keyed& item : keyed) sorted.push_back(std::move(item.item));
  return Value::List(std::move(sorted));
}

Result Unique(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("unique", arguments, {"case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  FM_ASSIGN_OR_RETURN(const std::vector<Keyed> keyed,
                      KeyedItems(items, bound.Get(1), bound.Truth(0, false), budget));
  std::vector<Value> seen;
  std::vector<Value> unique;
  for (const Keyed& item : keyed) {
    if (!IsHashable(item.key)) {
      return InvalidArgument("unhashable type: '{}'", TypeName(item.key));
    }
    bool is_new = true;
    for (const Value& key : seen) {
      FM_ASSIGN_OR_RETURN(const bool same, Equal(key, item.key, budget));
      is_new = is_new && !same;
    }
    if (!is_new) continue;
    seen.push_back(item.key);
    unique.push_back(item.item);
  }
  return Generator(std::move(unique));
}

template <bool maximum>
Result Extreme(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::Bind(maximum ? "max" : "min", arguments, {"case_sensitive", "attribute"}));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  FM_ASSIGN_OR_RETURN(const std::vector<Keyed> keyed,
                      KeyedItems(items, bound.Get(1), bound.Truth(0, false), budget));
  if (keyed.empty()) return Value::Undefined("no aggregated item, the sequence was empty");
  const Keyed* best = &keyed[0];
  for (const Keyed& item : keyed) {
    FM_ASSIGN_OR_RETURN(const int order, Compare(item.key, best->key, budget));
    if (maximum ? order > 0 : order < 0) best = &item;
  }
  return best->item;
}

Result First(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  if (value.Is(Kind::kString)) {
    if (value.text().empty()) return Value::Undefined("no first item, the sequence was empty");
    return Value::String(value.text().Part(0, ReadUtf8(value.view(), 0).length));
  }
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  if (items.empty()) return Value::Undefined("no first item, the sequence was empty");
  return items.front();
}

Result Last(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  if (value.IsSequence(SequenceType::kGenerator)) {
    return InvalidArgument("'generator' object is not reversible");
  }
  if (value.Is(Kind::kUndefined)) return InvalidArgument("{}", value.undefined_hint());
  if (value.Is(Kind::kString) && !value.text().empty()) {
    const size_t size = value.view().size();
    return Value::String(value.text().Part(CharacterStart(value.view(), size), size));
  }
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  if (items.empty()) return Value::Undefined("no last item, the sequence was empty");
  return items.back();
}

Result MakeList(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, budget));
  return Value::List(std::move(items));
}

Result Reverse(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  FM_ASSIGN_OR_RETURN(std::vector<Value> items, Items(value, budget));
  std::reverse(items.begin(), items.end());
  if (!value.Is(Kind::kString)) return Generator(std::move(items));
  Text text;
  for (const Value& item : items) text.Append(item.text());
  return Value::String(std::move(text), value.is_markup());
}

Result Pairs(const Value& value, const Arguments& /*arguments*/, Budget* budget) {
  std::vector<Value> pairs;
  if (value.Is(Kind::kUndefined)) return Generator(std::move(pairs));
  if (!value.Is(Kind::kDict)) return InvalidArgument("can only get item pairs from a mapping");
  FM_RETURN_IF_ERROR(budget->Steps(value.dict().items.size()));
  for (const auto& [key, item] : value.dict().items) {
    FM_ASSIGN_OR_RETURN(Value pair, Value::Sequence(SequenceType::kTuple, {key, item}));
    pairs.push_back(std::move(pair));
  }
  return Generator(std::move(pairs));
}

Result Sum(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("sum", arguments, {"attribute", "start"}));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  Value sum = bound.Has(1) ? *bound.Get(1) : Value::Int(0);
  for (const Value& item : items) {
    Value addend = item;
    if (bound.Has(0) && !bound.Get(0)->Is(Kind::kNone)) {
      FM_ASSIGN_OR_RETURN(addend, Path(item, *bound.Get(0), budget));
    }
    FM_ASSIGN_OR_RETURN(sum, Arithmetic(Operator::kAdd, sum, addend, budget));
  }
  return sum;
}

Result GroupBy(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::Bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  const bool case_sensitive = bound.Truth(2, false);
  FM_ASSIGN_OR_RETURN(std::vector<Keyed> keyed,
                      KeyedItems(items, bound.Get(0), case_sensitive, budget));
  for (Keyed& item : keyed) {
    if (item.key.Is(Kind::kUndefined) && bound.Has(1)) item.key = *bound.Get(1);
  }
  FM_RETURN_IF_ERROR(SortKeyed(&keyed, false, budget));
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    size_t end = begin;
    for (; end < keyed.size(); ++end) {
      FM_ASSIGN_OR_RETURN(const bool same, Equal(keyed[begin].key, keyed[end].key, budget));
      if (!same) break;
      members.push_back(keyed[end].item);
    }
    FM_ASSIGN_OR_RETURN(Value name, SortKey(members[0], bound.Get(0), true, budget));
    if (name.Is(Kind::kUndefined)) name = keyed[begin].key;
    FM_ASSIGN_OR_RETURN(Value list, Value::List(std::move(members)));
    FM_ASSIGN_OR_RETURN(Value group, Value::Sequence(SequenceType::kTuple, {name, list}));
    groups.push_back(std::move(group));
    begin = end;
  }
  return Value::List(std::move(groups));
}

Result Batch(const Value& value, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("batch", arguments, {"linecount", "fill_with"}, 1));
  FM_ASSIGN_OR_RETURN(const int64_t size, bound.Int(0, 1));
  if (size < 1 || size > 100000) return InvalidArgument("batch: bad size {}", size);
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  std::vector<Value> batches;
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(size)) {
    const size_t end = std::min(items.size(), begin + static_cast<size_t>(size));
    std::vector<Value> batch(items.begin() + static_cast<std::ptrdiff_t>(begin),
                             items.begin() + static_cast<std::ptrdiff_t>(end));
    if (bound.Has(1) && !bound.Get(1)->Is(Kind::kNone)) {
      FM_RETURN_IF_ERROR(budget->Steps(static_cast<size_t>(size)));
      batch.resize(static_cast<size_t>(size), *bound.Get(1));
    }
    FM_ASSIGN_OR_RETURN(Value list, Value::List(std::move(batch)));
    batches.push_back(std::move(list));
  }
  return Generator(std::move(batches));
}

// The arguments from `first` on.
Arguments Rest(const Arguments& arguments, size_t first) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(first),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

Result MapAttribute(const std::vector<Value>& items, const Arguments& arguments, Budget* budget) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("map", arguments, {"attribute", "default"}));
  std::vector<Value> mapped;
  for (const Value& item : items) {
    FM_ASSIGN_OR_RETURN(Value value, Path(item, *bound.Get(0), budget));
    if (value.Is(Kind::kUndefined) && bound.Has(1)) value = *bound.Get(1);
    mapped.push_back(std::move(value));
  }
  return Generator(std::move(mapped));
}

Result Map(const Value& value, const Arguments& arguments, Budget* budget) {
  if (!value.Truth()) return Generator({});  // None too, which is nothing to iterate over
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  if (arguments.positional.empty()) {
    if (arguments.named.empty() || arguments.named[0].first != "attribute") {
      return InvalidArgument("map wants the name of a filter, or attribute=...");
    }
    return MapAttribute(items, arguments, budget);
  }
  const Value& name = arguments.positional[0];
  const FilterEntry* filter = name.Is(Kind::kString) ? FindFilter(name.view()) : nullptr;
  if (filter == nullptr) return InvalidArgument("map: there is no filter of this name");
  const Arguments rest = Rest(arguments, 1);
  std::vector<Value> mapped;
  for (const Value& item : items) {
    FM_RETURN_IF_ERROR(budget->Enter());
    FM_ASSIGN_OR_RETURN(Value result, filter->function(item, rest, budget));
    budget->Leave();
    mapped.push_back(std::move(result));
  }
  return Generator(std::move(mapped));
}

template <bool by_attribute, bool wanted>
Result Select(const Value& value, const Arguments& arguments, Budget* budget) {
  if (!value.Truth()) return Generator({});
  const size_t first = by_attribute ? 1 : 0;
  if (arguments.positional.size() < first) return InvalidArgument("an attribute's name is missing");
  const TestEntry* test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > first) {
    const Value& name = arguments.positional[first];
    test = name.Is(Kind::kString) ? FindTest(name.view()) : nullptr;
    if (test == nullptr) return InvalidArgument("there is no test of this name");
    rest = Rest(arguments, first + 1);
  }
  FM_ASSIGN_OR_RETURN(const std::vector<Value> items, Items(value, budget));
  std::vector<Value> selected;
  for (const Value& item : items) {
    FM_RETURN_IF_ERROR(budget->Steps(1));
    Value subject = item;
    if (by_attribute) {
      FM_ASSIGN_OR_RETURN(subject, Path(item, arguments.positional[0], budget));
    }
    bool holds = subject.Truth();
    if (test != nullptr) {
      FM_ASSIGN_OR_RETURN(holds, test->function(subject, rest, budget));
    }
    if (holds == wanted) selected.push_back(item);
  }
  return Generator(std::move(selected));
}

constexpr FilterEntry kFilters[] = {
    {"batch", Batch},
    {"dictsort", DictSort},
    {"first", First},
    {"groupby", GroupBy},
    {"items", Pairs},
    {"last", Last},
    {"list", MakeList},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<true, false>},
    {"reverse", Reverse},
    {"select", Select<false, true>},
    {"selectattr", Select<true, true>},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

const FilterEntry* FindSequenceFilter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [name](const FilterEntry& entry) { return entry.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace folkmoot::jinja
