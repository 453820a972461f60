// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr, each with time, level and rank:
//
//   20:14:03.512 info  [r1/4] loaded 8 experts bytes=1048576 seconds=0.02
//
// A line is an event with fields (step=12 tokens=512), at most one per step at info. main() calls
// SetUpLog once, before other threads start; everyone else calls spdlog::info(...) and friends.
#pragma once

#include <string>
#include <string_view>

#include "runtime/status.h"

namespace folkmoot {

struct LogOptions {
  // trace, debug, info, warning, error or off. Empty: $FOLKMOOT_LOG_LEVEL, else warning.
  std::string level;
  int rank = 0;
  int ranks = 1;           // with more than one rank, lines below warning come from rank 0 alone
  bool all_ranks = false;  // let every rank speak at `level`
};

// Replaces spdlog's default logger. An unknown level is an error that lists the known ones.
absl::Status SetUpLog(const LogOptions& options);

// The level that SetUpLog would use, before the rule for ranks above 0: one of the names above.
absl::StatusOr<std::string> ResolveLogLevel(std::string_view flag, const char* environment);

}  // namespace folkmoot
