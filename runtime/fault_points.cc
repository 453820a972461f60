// SPDX-License-Identifier: Apache-2.0
#include "runtime/fault_points.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

namespace folkmoot {
namespace {

using Access = FaultPointInfo::Access;

constexpr auto kPoints = std::to_array<FaultPointInfo>({
    {"kv.allocate", "pages of keys and values, or slots of state", Access::kMemory},
    {"panels.allocate", "weights in the layout of the kernels", Access::kMemory},
    {"scratch.allocate", "scratch memory of a step, while it grows", Access::kMemory},
    {"buffer.allocate", "buffers of exchanges between ranks, while they grow", Access::kMemory},
    {"gpu.allocate", "memory of a GPU, or pinned for one", Access::kMemory},
    {"config.read", "config.json, generation_config.json, chat templates", Access::kRead},
    {"tokenizer.read", "tokenizer.json and tokenizer_config.json", Access::kRead},
    {"weights.map", "a file of weights, or their index", Access::kRead},
    {"weights.read", "a tensor's pages", Access::kRead},
    {"output.open", "a file that quantize or pack writes", Access::kWrite},
    {"output.write", "the same: its bytes", Access::kWrite},
    {"output.sync", "the same: its end", Access::kWrite},
    {"journal.open", "a new file of the journal", Access::kWrite},
    {"journal.read", "a file of the journal, at the start", Access::kRead},
    {"journal.write", "what a step or a request adds to the journal", Access::kWrite},
    {"journal.sync", "the same with --journal-sync", Access::kWrite},
    {"http.accept", "a client's connection", Access::kConnection},
    {"http.read", "bytes of a client", Access::kConnection},
    {"http.write", "bytes to a client", Access::kConnection},
    {"channel.connect", "a rank's way to the supervisor or the front end", Access::kConnection},
    {"channel.accept", "the same, at the other end", Access::kConnection},
    {"channel.send", "a message between the processes of a server", Access::kConnection},
    {"channel.receive", "the same, at the other end", Access::kConnection},
    {"exchange.start", "an exchange between ranks: its start", Access::kConnection},
    {"exchange.wait", "the same: its end", Access::kConnection},
});
static_assert(kPoints.size() == static_cast<size_t>(FaultPoint::kExchangeWait) + 1);

struct Planned {
  std::vector<PointFault> faults;
  std::array<std::atomic<int64_t>, kPoints.size()> reached{};
};
Planned planned;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): see the header

int ErrorOf(PointFaultKind kind, FaultPoint point) {
  if (kind == PointFaultKind::kNoSpace) return ENOSPC;
  switch (InfoOf(point).access) {
    case Access::kMemory:
      return ENOMEM;
    case Access::kConnection:
      return ECONNRESET;
    default:
      return EIO;
  }
}

// True: the call fails.
bool Happen(const PointFault& fault, size_t* bytes) {
  switch (fault.kind) {
    case PointFaultKind::kKill:
      std::raise(SIGKILL);
      return false;
    case PointFaultKind::kStop:
      std::raise(SIGSTOP);
      return false;
    case PointFaultKind::kDelay:
      std::this_thread::sleep_for(std::chrono::milliseconds(fault.ms));
      return false;
    case PointFaultKind::kShortRead:
      if (bytes != nullptr) *bytes /= 2;
      return false;
    default:
      errno = ErrorOf(fault.kind, fault.point);
      return true;
  }
}

}  // namespace

std::atomic<bool> internal::faults_planned{false};

std::span<const FaultPointInfo> FaultPoints() { return kPoints; }

const FaultPointInfo& InfoOf(FaultPoint point) { return kPoints[static_cast<size_t>(point)]; }

std::optional<FaultPoint> FindFaultPoint(std::string_view name) {
  for (size_t i = 0; i < kPoints.size(); ++i) {
    if (kPoints[i].name == name) return static_cast<FaultPoint>(i);
  }
  return std::nullopt;
}

bool CanHappen(PointFaultKind kind, FaultPoint point) {
  const Access access = InfoOf(point).access;
  if (kind == PointFaultKind::kNoSpace) return access == Access::kWrite;
  return kind != PointFaultKind::kShortRead || access == Access::kRead;
}

void PlanPointFaults(std::vector<PointFault> faults) {
  planned.faults = std::move(faults);
  for (auto& reached : planned.reached) reached = 0;
  internal::faults_planned.store(true, std::memory_order_release);
}

std::string FaultCounts() {
  std::string text;
  if (!internal::faults_planned) return text;
  for (size_t i = 0; i < kPoints.size(); ++i) {
    const int64_t count = planned.reached[i];
    if (count == 0) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", kPoints[i].name, count);
  }
  return text;
}

bool internal::ReachFaultPoint(FaultPoint point, size_t* bytes) {
  const int64_t nth = 1 + planned.reached[static_cast<size_t>(point)].fetch_add(1);
  bool fails = false;
  for (const PointFault& fault : planned.faults) {
    if (fault.point != point || (fault.nth != nth && fault.nth != 0)) continue;
    fails = Happen(fault, bytes) || fails;
  }
  return fails;
}

}  // namespace folkmoot
