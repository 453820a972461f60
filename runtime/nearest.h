// SPDX-License-Identifier: Apache-2.0
// "Did you mean ...?": the known name that is nearest to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

// Least number of inserted, deleted, replaced and swapped neighbouring characters that turns a into
// b.
int EditDistance(std::string_view a, std::string_view b);

// The nearest of `known`, the first of equals; nullptr when none is near enough to be meant.
const std::string* Nearest(std::string_view name, const std::vector<std::string>& known);

}  // namespace folkmoot
