// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "runtime/jinja/arguments.h"

namespace folkmoot::jinja {

// The functions that every template sees; nullopt: there is none of this name.
std::optional<Value> FindGlobal(std::string_view name);

// range(start, stop, step). At most 100,000 numbers, as in Jinja's sandbox.
absl::StatusOr<Value> Range(const Arguments& arguments, Budget* budget);

// The pairs that dict(...) and namespace(...) are made of.
absl::StatusOr<std::vector<std::pair<Value, Value>>> DictItems(std::string_view function,
                                                               const Arguments& arguments);

// strftime_now(format), local time.
absl::StatusOr<Value> FormatNow(const Arguments& arguments,
                                std::chrono::system_clock::time_point now);

}  // namespace folkmoot::jinja
