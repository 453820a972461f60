// SPDX-License-Identifier: Apache-2.0
// Characters of Unicode 10 and later that tokenizers do not normalize. The `tokenizers` package has
// the tables of Unicode 9: to it a mark like U+1715 stands where it is written, and U+1E030 has no
// compatible letter.
#pragma once

namespace folkmoot {

bool IsUnnormalized(char32_t code);

}  // namespace folkmoot
