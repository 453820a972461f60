// SPDX-License-Identifier: Apache-2.0
// The "format" keyword of JSON Schema as regular expressions.
#pragma once

#include <string_view>

namespace folkmoot {

// A regular expression all of whose matches have this format (not all that have it match: years
// are 1000 to 9999, e-mail addresses are plain, URIs have a host). Empty: the format is not known.
std::string_view StringFormatRegex(std::string_view format);

// For messages: "date, date-time, ...".
std::string_view StringFormatNames();

}  // namespace folkmoot
