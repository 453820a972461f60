// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/jinja/value.h"

namespace folkmoot::jinja {

// What a call passes.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments by the names of the parameters: by position first, then by name.
class BoundArguments {
 public:
  // `function` is for messages. InvalidArgument: too many, unknown or double arguments, or one of
  // the first `required` is missing.
  static absl::StatusOr<BoundArguments> Bind(std::string_view function, const Arguments& arguments,
                                             std::initializer_list<std::string_view> parameters,
                                             size_t required = 0);

  // Null: not given.
  const Value* Get(size_t parameter) const { return values_[parameter]; }
  bool Has(size_t parameter) const { return values_[parameter] != nullptr; }
  // bool(argument).
  bool Truth(size_t parameter, bool otherwise) const {
    return Has(parameter) ? Get(parameter)->Truth() : otherwise;
  }
  // InvalidArgument when it is no integer.
  absl::StatusOr<int64_t> Int(size_t parameter, int64_t otherwise) const;
  // Not given, or None: `otherwise`. InvalidArgument when it is no string.
  absl::StatusOr<Text> String(size_t parameter, const Text& otherwise) const;

 private:
  std::string function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace folkmoot::jinja
