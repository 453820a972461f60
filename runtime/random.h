// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: Philox4x32-10 (runtime/philox.h). A draw is a pure function of its
// key, so it does not depend on rank, batch, device or the order of calls.
#pragma once

#include <cstdint>

#include "runtime/host_device.h"
#include "runtime/philox.h"

namespace folkmoot {

// What a draw is for; keeps the draws of one token apart.
enum class DrawPurpose : uint32_t { kExtraExpert = 1, kGumbel = 2, kDropOrder = 3, kSample = 4 };

struct DrawKey {
  uint64_t seed = 0;
  uint64_t stream = 0;    // hash of the token prefix, or the sequence id
  uint32_t layer = 0;     // < 4096
  uint32_t position = 0;  // absolute position in the sequence
  DrawPurpose purpose = DrawPurpose::kExtraExpert;
};

// The 32-bit word number `index` (slot or expert id, < 262144) of the key:
// counter = (position, layer << 20 | purpose << 16 | index / 4, stream lo, stream hi), key = seed.
uint32_t DrawWord(const DrawKey& key, uint32_t index);

// DrawWord without its check of the ranges, for code that also runs on a GPU.
FOLKMOOT_HOST_DEVICE inline uint32_t UncheckedDrawWord(const DrawKey& key, uint32_t index) {
  const auto purpose = static_cast<uint32_t>(key.purpose);
  const PhiloxBlock counter = {{key.position, (key.layer << 20) | (purpose << 16) | (index / 4),
                                static_cast<uint32_t>(key.stream),
                                static_cast<uint32_t>(key.stream >> 32)}};
  const PhiloxKey seed = {{static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)}};
  const PhiloxBlock block = Philox4x32(counter, seed);
  // Not word[index % 4]: a GPU would put an array that is indexed at run time into memory.
  const uint32_t low = index % 2 == 0 ? block.word[0] : block.word[1];
  const uint32_t high = index % 2 == 0 ? block.word[2] : block.word[3];
  return index % 4 < 2 ? low : high;
}

// [0, 1) on a grid of 2^-24: exact in float32.
FOLKMOOT_HOST_DEVICE inline float ToUnit(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}
inline float DrawUniform(const DrawKey& key, uint32_t index) {
  return ToUnit(DrawWord(key, index));
}

}  // namespace folkmoot
