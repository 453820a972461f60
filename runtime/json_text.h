// SPDX-License-Identifier: Apache-2.0
// What Python writes for JSON and JSON does not have: Infinity, -Infinity and NaN, as in the
// time_step_limit of Nemotron.
#pragma once

#include <string>
#include <string_view>

namespace folkmoot {

// Such numbers become strings, which a parser takes and no key takes for a number.
std::string QuoteNonNumbers(std::string_view text);
// And back, where strings are nothing but such a number.
std::string UnquoteNonNumbers(std::string_view text);

}  // namespace folkmoot
