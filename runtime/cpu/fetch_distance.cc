// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/fetch_distance.h"

namespace folkmoot::cpu {

int64_t FetchDistance() {
#if defined(__x86_64__)
  static const bool intel = __builtin_cpu_is("intel") != 0;
  return intel ? 2048 : 8192;
#else
  return 8192;
#endif
}

}  // namespace folkmoot::cpu
