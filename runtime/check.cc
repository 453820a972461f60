// SPDX-License-Identifier: Apache-2.0
#include "runtime/check.h"

#include <cstdio>
#include <cstdlib>

namespace folkmoot {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "folkmoot: internal error at %s:%d: %s does not hold\n", file, line,
               condition);
  std::abort();
}

}  // namespace folkmoot
