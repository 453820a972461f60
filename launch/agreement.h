// SPDX-License-Identifier: Apache-2.0
// Ranks compare notes before they rely on each other: build, model files, flags. A rank that
// differs is refused by the name of the field, at once, instead of computing something else or
// waiting for ever.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/status.h"

namespace folkmoot {

using AgreementFields = std::vector<std::pair<std::string, std::string>>;  // name, value

// Collective. `mine` is this rank's own state: OK, or why it cannot go on. Returns OK everywhere,
// or the same error everywhere: the first rank that failed with its reason, or the first field that
// differs from rank 0's.
absl::Status AgreeOrFail(Communicator& world, const absl::Status& mine,
                         const AgreementFields& fields);

}  // namespace folkmoot
