// SPDX-License-Identifier: Apache-2.0
#include "runtime/random.h"

#include "runtime/check.h"

namespace folkmoot {

uint32_t DrawWord(const DrawKey& key, uint32_t index) {
  FM_CHECK(key.layer < 4096 && index < 262144);
  return UncheckedDrawWord(key, index);
}

}  // namespace folkmoot
