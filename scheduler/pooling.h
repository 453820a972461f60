// SPDX-License-Identifier: Apache-2.0
// How the hidden states of a prompt become one vector, its embedding.
#pragma once

#include <cstdint>

namespace folkmoot {

// kLast: of the last token, which has seen all others. kMean: of all tokens, added in the order of
// their positions.
enum class Pooling : uint8_t { kNone, kLast, kMean };

}  // namespace folkmoot
