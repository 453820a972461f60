// SPDX-License-Identifier: Apache-2.0
#include "runtime/jinja/arguments.h"

#include <algorithm>

namespace folkmoot::jinja {

absl::StatusOr<BoundArguments> BoundArguments::Bind(
    std::string_view function, const Arguments& arguments,
    std::initializer_list<std::string_view> parameters, size_t required) {
  BoundArguments bound;
  bound.function_ = function;
  bound.names_.assign(parameters.begin(), parameters.end());
  bound.values_.assign(parameters.size(), nullptr);
  if (arguments.positional.size() > parameters.size()) {
    return InvalidArgument("{}() takes at most {} arguments, {} were given", function,
                           parameters.size(), arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(bound.names_.begin(), bound.names_.end(), name);
    if (found == bound.names_.end()) {
      return InvalidArgument("{}() has no argument '{}'", function, name);
    }
    const Value*& slot = bound.values_[static_cast<size_t>(found - bound.names_.begin())];
    if (slot != nullptr) return InvalidArgument("{}() got '{}' twice", function, name);
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] == nullptr) {
      return InvalidArgument("{}() wants an argument '{}'", function, bound.names_[i]);
    }
  }
  return bound;
}

absl::StatusOr<int64_t> BoundArguments::Int(size_t parameter, int64_t otherwise) const {
  if (!Has(parameter)) return otherwise;
  if (Get(parameter)->is_integer()) return Get(parameter)->as_int();
  return InvalidArgument("{}(): '{}' must be an integer, not {}", function_, names_[parameter],
                         TypeName(*Get(parameter)));
}

absl::StatusOr<Text> BoundArguments::String(size_t parameter, const Text& otherwise) const {
  if (!Has(parameter) || Get(parameter)->Is(Kind::kNone)) return otherwise;
  if (Get(parameter)->Is(Kind::kString)) return Get(parameter)->text();
  return InvalidArgument("{}(): '{}' must be a string, not {}", function_, names_[parameter],
                         TypeName(*Get(parameter)));
}

}  // namespace folkmoot::jinja
