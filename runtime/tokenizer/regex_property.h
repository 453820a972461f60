// SPDX-License-Identifier: Apache-2.0
// Names of Unicode properties: Oniguruma's \p{...} in the words of PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace folkmoot {

// General categories by their short and long names, common binary properties, and else a script
// ("sc:Name": alone, PCRE2 would take script extensions). Whether it exists is for PCRE2 to say.
std::string Pcre2Property(std::string_view name);

}  // namespace folkmoot
