// SPDX-License-Identifier: Apache-2.0
// Faults on purpose, to see a program survive them: who does what, where. Only behind a flag that
// says what it is.
//
// A plan is a list, "kill:rank=2,step=40,layer=3;enospc:at=journal.write,nth=3". Each fault happens
// once. One with `at` happens at the nth call of that point in a process (runtime/fault_points.h);
// without `process` or `rank` in any one. The others happen at the first exchange between ranks
// that is not before them: step and layer are lower bounds, and without `layer` any exchange of the
// step will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/fault_points.h"
#include "runtime/status.h"

namespace folkmoot {

// kFail, kNoSpace, kShortRead: only with `at`, see PointFaultKind. kKill: the process is gone.
// kStop: it stands still, as by SIGSTOP. kDelay: it sleeps. kCorrupt: a byte that it sends is
// another. kDrop: what it sends to one peer never arrives. kCount: no fault; how often each point
// was reached is printed when the process ends.
enum class FaultKind : uint8_t {
  kFail,
  kNoSpace,
  kShortRead,
  kKill,
  kStop,
  kDelay,
  kCorrupt,
  kDrop,
  kCount
};

// A command that is no supervised server is a rank.
enum class FaultProcess : uint8_t { kAny, kSupervisor, kFrontEnd, kRank };

struct Fault {
  FaultKind kind = FaultKind::kKill;
  std::optional<FaultPoint> at;
  int64_t nth = 1;  // call of the point; 0: every one
  FaultProcess process = FaultProcess::kAny;
  int rank = -1;  // -1: any; at exchanges 0
  int64_t step = 0;
  int layer = -1;     // -1: any
  int64_t ms = 1000;  // of a delay
  int64_t epoch = 1;  // life of the engine, or of the front end, that it happens in; 0: every one
};

// Who asks for its faults.
struct FaultSite {
  FaultProcess process = FaultProcess::kRank;
  int rank = 0;       // of a rank
  int64_t epoch = 1;  // life of the engine, or of the front end
};

// Errors name what is wrong with which fault, and what would be right.
absl::StatusOr<std::vector<Fault>> ParseFaultPlan(std::string_view text);

// The faults of the plan at points of this process.
std::vector<PointFault> PointFaultsOf(const std::vector<Fault>& plan, const FaultSite& site);
// Is it one at exchanges of this rank in this life of the engine?
bool IsAtExchangesOf(const Fault& fault, int rank, int64_t epoch);
bool Counts(const std::vector<Fault>& plan);

}  // namespace folkmoot
