// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/globals.h"

#include <array>
#include <ctime>

namespace folkmoot::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;

struct BuiltinName {
  std::string_view name;
  Builtin builtin;
};
constexpr BuiltinName kBuiltins[] = {{"range", Builtin::kRange},
                                     {"namespace", Builtin::kNamespace},
                                     {"dict", Builtin::kDict},
                                     {"raise_exception", Builtin::kRaiseException},
                                     {"strftime_now", Builtin::kStrftimeNow}};

// One directive of strftime; `directive` is the character after '%'.
std::string FormatDirective(char directive, const std::tm& time, int64_t microseconds) {
  if (directive == 'f') return fmt::format("{:06}", microseconds);
  const char format[] = {'%', directive, '\0'};
  std::array<char, 256> buffer{};
  const size_t length = std::strftime(buffer.data(), buffer.size(), format, &time);
  return std::string(buffer.data(), length);
}

}  // namespace

std::optional<Value> FindGlobal(std::string_view name) {
  for (const auto& [builtin_name, builtin] : kBuiltins) {
    if (builtin_name != name) continue;
    auto callable = std::make_shared<CallableObject>();
    callable->builtin = builtin;
    return Value::Callable(std::move(callable));
  }
  return std::nullopt;
}

absl::StatusOr<Value> Range(const Arguments& arguments, Budget* budget) {
  const std::vector<Value>& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    return InvalidArgument("range() takes from 1 to 3 numbers");
  }
  for (const Value& value : given) {
    if (!value.is_integer()) {
      return InvalidArgument("range() wants integers, not {}", TypeName(value));
    }
  }
  const int64_t start = given.size() == 1 ? 0 : given[0].as_int();
  const int64_t stop = given.size() == 1 ? given[0].as_int() : given[1].as_int();
  const int64_t step = given.size() == 3 ? given[2].as_int() : 1;
  if (step == 0) return InvalidArgument("range() arg 3 must not be zero");
  std::vector<Value> numbers;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(numbers.size()) >= kMaxRange) {
      return ResourceExhausted("range() of more than {} numbers", kMaxRange);
    }
    numbers.push_back(Value::Int(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  FM_RETURN_IF_ERROR(budget->Steps(numbers.size()));
  return Value::Sequence(SequenceType::kRange, std::move(numbers));
}

absl::StatusOr<std::vector<std::pair<Value, Value>>> DictItems(std::string_view function,
                                                               const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1) {
    return InvalidArgument("{}() takes at most one argument without a name", function);
  }
  if (!arguments.positional.empty()) {
    if (!arguments.positional[0].Is(Kind::kDict)) {
      return InvalidArgument("{}() wants a mapping, not {}", function,
                             TypeName(arguments.positional[0]));
    }
    items = arguments.positional[0].dict().items;
  }
  for (const auto& [name, value] : arguments.named) {
    bool found = false;
    for (auto& [key, item] : items) {
      if (!key.Is(Kind::kString) || key.view() != name) continue;
      item = value;
      found = true;
    }
    if (!found) items.emplace_back(Value::String(Text::Trusted(name)), value);
  }
  return items;
}

absl::StatusOr<Value> FormatNow(const Arguments& arguments,
                                std::chrono::system_clock::time_point now) {
  FM_ASSIGN_OR_RETURN(const BoundArguments bound,
                      BoundArguments::Bind("strftime_now", arguments, {"format"}, 1));
  FM_ASSIGN_OR_RETURN(const Text format, bound.String(0, Text()));
  if (format.size() > 1000) return ResourceExhausted("strftime_now: the format is too long");
  const int64_t microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm time{};
  localtime_r(&seconds, &time);
  Text out;
  for (size_t at = 0; at < format.size(); ++at) {
    if (format.view()[at] != '%' || at + 1 == format.size()) {
      out.AppendPart(format, at, at + 1);
      continue;
    }
    ++at;
    std::string_view flags;
    if (format.view()[at] == '-' && at + 1 < format.size()) flags = format.view().substr(at++, 1);
    std::string part = FormatDirective(format.view()[at], time, microseconds % 1000000);
    if (!flags.empty()) {  // %-d: without the padding
      const size_t digit = part.find_first_not_of("0 ");
      part = digit == std::string::npos ? part.substr(part.empty() ? 0 : part.size() - 1)
                                        : part.substr(digit);
    }
    out.Append(part, true);
  }
  return Value::String(std::move(out));
}

}  // namespace folkmoot::jinja
