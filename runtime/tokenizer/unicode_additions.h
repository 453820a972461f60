// SPDX-License-Identifier: Apache-2.0
// Characters of Unicode 15 to 16 that PCRE2 10.42 (Unicode 14) takes for unassigned. Tokenizers of
// today know them: without them, U+1FA77 (pink heart) would be cut differently.
#pragma once

#include <string>
#include <string_view>

namespace folkmoot {

// What to add inside a PCRE2 class beside \p{`property`} (as Pcre2Property names it): ranges, or
// nothing. Knows general categories, Alphabetic and the script Han. A newer PCRE2 takes no harm.
std::string UnicodeAdditions(std::string_view property);

}  // namespace folkmoot
