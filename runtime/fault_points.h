// SPDX-License-Identifier: Apache-2.0
// Places where the machine may fail us: memory that cannot be had, files that cannot be read or
// written, connections that break. A fault plan makes the n-th call of such a place fail, in the
// normal program, so that a test can see what follows ("the n-th call fails", as SQLite does it).
//
// The faults stand for the machine, which every part of a process shares: they are the one mutable
// global here (docs/adr/0023-fault-points.md). Without a plan a point costs a load and a branch.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace folkmoot {

// In the order of FaultPoints().
enum class FaultPoint : uint8_t {
  kKvAllocate,
  kPanelsAllocate,
  kScratchAllocate,
  kBufferAllocate,
  kGpuAllocate,
  kConfigRead,
  kTokenizerRead,
  kWeightsMap,
  kWeightsRead,
  kOutputOpen,
  kOutputWrite,
  kOutputSync,
  kJournalOpen,
  kJournalRead,
  kJournalWrite,
  kJournalSync,
  kHttpAccept,
  kHttpRead,
  kHttpWrite,
  kChannelConnect,
  kChannelAccept,
  kChannelSend,
  kChannelReceive,
  kExchangeStart,
  kExchangeWait,
};

// kFail: with the error that the machine would give. kNoSpace: the disk is full. kShortRead: half
// of what is there. kKill, kStop and kDelay: the process ends, stands still, or sleeps first.
enum class PointFaultKind : uint8_t { kFail, kNoSpace, kShortRead, kKill, kStop, kDelay };

struct FaultPointInfo {
  std::string_view name;  // "journal.write"
  std::string_view what;  // in words
  enum class Access : uint8_t { kMemory, kRead, kWrite, kConnection } access;
};
std::span<const FaultPointInfo> FaultPoints();
const FaultPointInfo& InfoOf(FaultPoint point);
std::optional<FaultPoint> FindFaultPoint(std::string_view name);
// May a fault of this kind happen there?
bool CanHappen(PointFaultKind kind, FaultPoint point);

struct PointFault {
  FaultPoint point = FaultPoint::kKvAllocate;
  PointFaultKind kind = PointFaultKind::kFail;
  int64_t nth = 1;    // call of the point in this process; 0: every one
  int64_t ms = 1000;  // of a delay
};

// The faults of this process from here on, and counts that begin anew. While it has one thread that
// reaches points.
void PlanPointFaults(std::vector<PointFault> faults);
// "kv.allocate=2 weights.map=1": how often each point was reached; empty without a plan.
std::string FaultCounts();

namespace internal {
extern std::atomic<bool> faults_planned;
bool ReachFaultPoint(FaultPoint point, size_t* bytes);
}  // namespace internal

// Called in place of the operation at `point`, or right before it. True: it fails now, and errno
// says why. A short read shortens `*bytes`, where the caller gives it.
inline bool FaultAt(FaultPoint point, size_t* bytes = nullptr) {
  if (!internal::faults_planned.load(std::memory_order_acquire)) [[likely]] {
    return false;
  }
  return internal::ReachFaultPoint(point, bytes);
}

}  // namespace folkmoot
