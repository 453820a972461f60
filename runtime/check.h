// SPDX-License-Identifier: Apache-2.0
// FM_CHECK guards our own invariants: a failure is a bug of Folkmoot, never bad input.
// It prints file, line and the condition, then aborts.
#pragma once

namespace folkmoot {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace folkmoot

#define FM_CHECK(condition)                                    \
  do {                                                         \
    if (!(condition)) [[unlikely]] {                           \
      ::folkmoot::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                          \
  } while (false)
