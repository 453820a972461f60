// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "runtime/jinja/value.h"

namespace folkmoot::jinja {

// object.name: a method, else what is stored under the name. Whatever begins with "__", and methods
// that would change a list or dict, are undefined: the sandbox has no other way in.
// InvalidArgument: the object is undefined.
absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name, Budget* budget);

// object[key]: an item, else for a string key the attribute of that name.
absl::StatusOr<Value> GetItem(const Value& object, const Value& key, Budget* budget);

// object[start:stop:step]; None stands for a bound that is left out.
absl::StatusOr<Value> Slice(const Value& object, const Value& start, const Value& stop,
                            const Value& step, Budget* budget);

}  // namespace folkmoot::jinja
