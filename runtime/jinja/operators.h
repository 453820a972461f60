// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/jinja/ast.h"

namespace folkmoot::jinja {

// + - * / // % ** with Python's meaning. InvalidArgument: these types have no such operator, or a
// division by zero, or an integer outside of 64 bits.
absl::StatusOr<Value> Arithmetic(Operator op, const Value& left, const Value& right,
                                 Budget* budget);
// == != < <= > >= in, not in.
absl::StatusOr<bool> Comparison(Operator op, const Value& left, const Value& right, Budget* budget);
absl::StatusOr<Value> Negate(const Value& value);

// `format` % arguments (string_format.cc).
absl::StatusOr<Value> PercentFormat(const Value& format, const Value& arguments, Budget* budget);

}  // namespace folkmoot::jinja
