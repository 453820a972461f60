// SPDX-License-Identifier: Apache-2.0
#include "runtime/random.h"

#include <Random123/philox.h>

#include "runtime/check.h"

namespace folkmoot {

uint32_t DrawWord(const DrawKey& key, uint32_t index) {
  FM_CHECK(key.layer < 4096 && index < 262144);
  const auto purpose = static_cast<uint32_t>(key.purpose);
  const r123::Philox4x32::ctr_type counter = {
      {key.position, (key.layer << 20) | (purpose << 16) | (index / 4),
       static_cast<uint32_t>(key.stream), static_cast<uint32_t>(key.stream >> 32)}};
  const r123::Philox4x32::key_type seed = {
      {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)}};
  return r123::Philox4x32()(counter, seed)[index % 4];
}

}  // namespace folkmoot
