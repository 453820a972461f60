// SPDX-License-Identifier: Apache-2.0
// tokenizer.json patterns are written for Oniguruma (Ruby syntax, UTF-8); this rewrites them for
// PCRE2 so that they match the same text.
#pragma once

#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

// Differences that are bridged:
//   \s \S          White_Space (PCRE2 adds U+180E)
//   \w \W \b \B    Alphabetic, marks, decimal digits, connector punctuation (PCRE2: L, N, _)
//   \d \D          Nd          \h \H  hexadecimal digits     \v  U+000B     \uHHHH
//   \p{Script}     the script itself (PCRE2: script extensions); long category names; characters
//                  that are newer than PCRE2's tables
//   ^ $            at every line (the caller compiles with PCRE2_MULTILINE)
//   (?m) (?i)      Ruby's m is dot-all; an isolated option reaches to the end of its group,
//                  alternatives included
//   X{n,m}+ X{n}?  repetition of the repetition, not possessive or lazy;   {,n} is {0,n}
//   [a[b]] [a&&b]  union and intersection of classes
// What has no equal is refused by name: back references, conditionals, \G, \K, \X, (?x), ...
// `pattern` is valid UTF-8.
absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern);

// The beginning of a pattern: a file may have one of megabytes.
std::string ForMessage(std::string_view pattern);

}  // namespace folkmoot
