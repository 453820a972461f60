// SPDX-License-Identifier: Apache-2.0
#include "parallel/fault_plan.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

namespace folkmoot {
namespace {

struct KindName {
  std::string_view name;
  FaultKind kind;
  std::optional<PointFaultKind> at_point;  // nullopt: not at points
  bool at_exchanges = false;
};
constexpr KindName kKinds[] = {
    {"kill", FaultKind::kKill, PointFaultKind::kKill, true},
    {"stop", FaultKind::kStop, PointFaultKind::kStop, true},
    {"delay", FaultKind::kDelay, PointFaultKind::kDelay, true},
    {"corrupt", FaultKind::kCorrupt, std::nullopt, true},
    {"drop", FaultKind::kDrop, std::nullopt, true},
    {"fail", FaultKind::kFail, PointFaultKind::kFail},
    {"enospc", FaultKind::kNoSpace, PointFaultKind::kNoSpace},
    {"short-read", FaultKind::kShortRead, PointFaultKind::kShortRead},
    {"count", FaultKind::kCount, std::nullopt},
};

const KindName& NameOf(FaultKind kind) {
  return *std::find_if(std::begin(kKinds), std::end(kKinds),
                       [kind](const KindName& k) { return k.kind == kind; });
}

constexpr std::pair<std::string_view, FaultProcess> kProcesses[] = {
    {"supervisor", FaultProcess::kSupervisor},
    {"front-end", FaultProcess::kFrontEnd},
    {"rank", FaultProcess::kRank}};

absl::Status SetPoint(std::string_view value, Fault* fault) {
  fault->at = FindFaultPoint(value);
  if (fault->at) return absl::OkStatus();
  std::string known;
  for (const FaultPointInfo& info : FaultPoints()) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", info.name);
  }
  return InvalidArgument("there is no point '{}'; there are {}", value, known);
}

absl::Status SetProcess(std::string_view value, Fault* fault) {
  for (const auto& [name, process] : kProcesses) {
    if (name != value) continue;
    fault->process = process;
    return absl::OkStatus();
  }
  return InvalidArgument("process '{}' is none of supervisor, front-end, rank", value);
}

absl::Status SetNumber(std::string_view name, std::string_view text, Fault* fault) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 ||
      value > int64_t{1} << 31) {
    return InvalidArgument("'{}={}': expected NAME=NUMBER, as in step=40", name, text);
  }
  if (name == "rank") {
    fault->rank = static_cast<int>(value);
  } else if (name == "step") {
    fault->step = value;
  } else if (name == "layer") {
    fault->layer = static_cast<int>(value);
  } else if (name == "ms") {
    fault->ms = value;
  } else if (name == "epoch") {
    fault->epoch = value;
  } else if (name == "nth") {
    fault->nth = value;
  } else {
    return InvalidArgument("'{}' is none of at, nth, process, rank, step, layer, ms, epoch", name);
  }
  return absl::OkStatus();
}

absl::Status SetField(std::string_view pair, Fault* fault) {
  const size_t equals = std::min(pair.find('='), pair.size());
  const std::string_view name = pair.substr(0, equals);
  const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
  if (name == "at") return SetPoint(value, fault);
  if (name == "process") return SetProcess(value, fault);
  return SetNumber(name, value, fault);
}

absl::Status Check(const KindName& kind, const Fault& fault) {
  if (kind.kind == FaultKind::kCount) return absl::OkStatus();
  if (!fault.at) {
    if (!kind.at_exchanges) {
      return InvalidArgument("'{}' needs a point, as in at=journal.write", kind.name);
    }
    const bool elsewhere =
        fault.process != FaultProcess::kAny && fault.process != FaultProcess::kRank;
    if (fault.nth == 1 && !elsewhere) return absl::OkStatus();
    return InvalidArgument(
        "nth, and a process that is no rank, need a point, as in at=kv.allocate");
  }
  const FaultPointInfo& point = InfoOf(*fault.at);
  if (!kind.at_point || !CanHappen(*kind.at_point, *fault.at)) {
    return InvalidArgument("'{}' cannot happen at {}", kind.name, point.name);
  }
  if (fault.rank >= 0 && fault.process != FaultProcess::kAny &&
      fault.process != FaultProcess::kRank) {
    return InvalidArgument("a rank of a process that is none");
  }
  if (fault.step == 0 && fault.layer < 0) return absl::OkStatus();
  return InvalidArgument("step and layer are for faults at exchanges, without `at`");
}

absl::StatusOr<Fault> ParseFault(std::string_view text) {
  Fault fault;
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                  [&](const KindName& k) { return k.name == name; });
  if (kind == std::end(kKinds)) {
    return InvalidArgument(
        "'{}' is none of kill, stop, delay, corrupt, drop, fail, enospc, short-read, count", name);
  }
  fault.kind = kind->kind;
  std::string_view rest = text.substr(std::min(colon + 1, text.size()));
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    FM_RETURN_IF_ERROR(SetField(rest.substr(0, comma), &fault));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  FM_RETURN_IF_ERROR(Check(*kind, fault));
  if (!fault.at && fault.rank < 0) fault.rank = 0;
  return fault;
}

}  // namespace

absl::StatusOr<std::vector<Fault>> ParseFaultPlan(std::string_view text) {
  std::vector<Fault> plan;
  while (!text.empty()) {
    const size_t end = std::min(text.find(';'), text.size());
    absl::StatusOr<Fault> fault = ParseFault(text.substr(0, end));
    if (!fault.ok()) {
      return Annotate(fault.status(), fmt::format("fault {}", plan.size() + 1));
    }
    plan.push_back(*fault);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return plan;
}

std::vector<PointFault> PointFaultsOf(const std::vector<Fault>& plan, const FaultSite& site) {
  std::vector<PointFault> own;
  for (const Fault& fault : plan) {
    if (!fault.at || (fault.epoch != 0 && fault.epoch != site.epoch)) continue;
    const bool ranks_only = fault.process == FaultProcess::kRank || fault.rank >= 0;
    if (ranks_only && site.process != FaultProcess::kRank) continue;
    if (fault.rank >= 0 && fault.rank != site.rank) continue;
    if (fault.process != FaultProcess::kAny && fault.process != site.process) continue;
    own.push_back({.point = *fault.at,
                   .kind = *NameOf(fault.kind).at_point,
                   .nth = fault.nth,
                   .ms = fault.ms});
  }
  return own;
}

bool IsAtExchangesOf(const Fault& fault, int rank, int64_t epoch) {
  const bool now = fault.epoch == 0 || fault.epoch == epoch;
  return now && !fault.at && fault.kind != FaultKind::kCount && fault.rank == rank;
}

bool Counts(const std::vector<Fault>& plan) {
  return std::any_of(plan.begin(), plan.end(),
                     [](const Fault& fault) { return fault.kind == FaultKind::kCount; });
}

}  // namespace folkmoot
