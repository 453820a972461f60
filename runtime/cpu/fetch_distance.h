// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace folkmoot::cpu {

// How many bytes ahead of itself a single tile fetches a panel of floats to L2. Processors differ:
// an Intel Xeon decodes eight sequences 1.09 times as fast with 2 KiB as with 8, with which AMD's
// were measured (docs/performance.md). Any thread.
int64_t FetchDistance();

}  // namespace folkmoot::cpu
