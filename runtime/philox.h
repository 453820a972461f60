// SPDX-License-Identifier: Apache-2.0
// Philox4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2,
// 3; 2011) for CPU and GPU: four random words that are a pure function of a counter and a key.
// Equal to Random123's philox4x32.
#pragma once

#include <cstdint>

#include "runtime/host_device.h"

namespace folkmoot {

struct PhiloxBlock {
  uint32_t word[4];
};
struct PhiloxKey {
  uint32_t word[2];
};

FOLKMOOT_HOST_DEVICE inline PhiloxBlock Philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * counter.word[0];
    const uint64_t second = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<uint32_t>(second >> 32) ^ counter.word[1] ^ key.word[0],
                static_cast<uint32_t>(second),
                static_cast<uint32_t>(first >> 32) ^ counter.word[3] ^ key.word[1],
                static_cast<uint32_t>(first)}};
    key.word[0] += 0x9E3779B9;
    key.word[1] += 0xBB67AE85;
  }
  return counter;
}

}  // namespace folkmoot
