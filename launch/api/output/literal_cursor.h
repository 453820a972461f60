// SPDX-License-Identifier: Apache-2.0
// A place in a text of literals with white space between them.
#pragma once

#include <string_view>

#include "launch/api/output/call_syntax.h"

namespace folkmoot {

struct LiteralCursor {
  std::string_view text;
  size_t at = 0;

  bool ended() const { return at == text.size(); }
  void SkipBlanks() {
    while (!ended() && IsJsonSpace(text[at])) ++at;
  }
  // Moves behind `c`, if it is what comes next.
  bool Take(char c) {
    SkipBlanks();
    if (ended() || text[at] != c) return false;
    ++at;
    return true;
  }
};

}  // namespace folkmoot
