// SPDX-License-Identifier: Apache-2.0
// JSON numbers within bounds as forms of an output.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "runtime/grammar/grammar.h"
#include "runtime/status.h"

namespace folkmoot {

// A decimal number with all its digits.
struct DecimalNumber {
  bool negative = false;
  std::string whole = "0";  // no leading zeros
  std::string fraction;     // no trailing zeros

  // `value` is a JSON number. Error: InvalidArgument when it has more than 60 digits before or
  // after the point.
  static absl::StatusOr<DecimalNumber> Of(const nlohmann::ordered_json& value);
  bool is_zero() const { return whole == "0" && fraction.empty(); }
  bool is_integer() const { return fraction.empty(); }
};

struct NumberBounds {
  bool integer = false;
  std::optional<DecimalNumber> min, max;
  bool min_excluded = false, max_excluded = false;
  std::optional<DecimalNumber> multiple_of;  // > 0
};

// Numbers have at most 18 digits (integers; more if the bounds need it) or 15 (others: so that no
// rounding to double moves a number over a bound), and an exponent only if there are no bounds.
// Integers are written without point and exponent.
// Error: InvalidArgument for what multipleOf cannot do: see docs of JsonSchema.
absl::StatusOr<Grammar::Expr> NumberForm(const NumberBounds& bounds, Grammar* grammar);

}  // namespace folkmoot
