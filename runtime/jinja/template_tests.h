// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "runtime/jinja/arguments.h"

namespace folkmoot::jinja {

// A test of Jinja: `value is name(arguments)`.
struct TestEntry {
  std::string_view name;
  absl::StatusOr<bool> (*function)(const Value& value, const Arguments& arguments, Budget* budget);
};

// Null: there is none of this name.
const TestEntry* FindTest(std::string_view name);

}  // namespace folkmoot::jinja
