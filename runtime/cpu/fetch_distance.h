// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace folkmoot::cpu {

// How many bytes ahead of itself a single tile fetches a panel of floats to L2. Processors differ:
// an Intel Xeon (Sapphire Rapids) is up to a third faster with 2 KiB than with 8, which AMD's Zen 4
// and 5 were measured with (docs/performance.md). Any thread.
int64_t FetchDistance();

}  // namespace folkmoot::cpu
