// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "runtime/jinja/arguments.h"

namespace folkmoot::jinja {

using FilterFunction = absl::StatusOr<Value> (*)(const Value& value, const Arguments& arguments,
                                                 Budget* budget);
// A filter of Jinja: `value | name(arguments)`. tojson is Transformers': no HTML escapes, Python's
// separators, ensure_ascii off.
struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};

// Null: there is none of this name.
const FilterEntry* FindFilter(std::string_view name);

// Parts of the above.
const FilterEntry* FindTextFilter(std::string_view name);      // filters_text.cc
const FilterEntry* FindSequenceFilter(std::string_view name);  // filters_sequence.cc

}  // namespace folkmoot::jinja
