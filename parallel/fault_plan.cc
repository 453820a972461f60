// SPDX-License-Identifier: Apache-2.0
#include "parallel/fault_plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <thread>
#include <utility>

#include "parallel/forwarding_communicator.h"

namespace folkmoot {
namespace {

constexpr std::array<std::pair<std::string_view, FaultKind>, 5> kKinds = {
    {{"kill", FaultKind::kKill},
     {"stop", FaultKind::kStop},
     {"delay", FaultKind::kDelay},
     {"corrupt", FaultKind::kCorrupt},
     {"drop", FaultKind::kDrop}}};

absl::Status Set(std::string_view name, int64_t value, Fault* fault) {
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
  } else {
    return InvalidArgument("'{}' is none of rank, step, layer, ms, epoch", name);
  }
  return absl::OkStatus();
}

absl::StatusOr<Fault> ParseFault(std::string_view text) {
  Fault fault;
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const auto* kind =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& k) { return k.first == name; });
  if (kind == kKinds.end()) {
    return InvalidArgument("'{}' is none of kill, stop, delay, corrupt, drop", name);
  }
  fault.kind = kind->second;
  std::string_view rest = text.substr(std::min(colon + 1, text.size()));
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view pair = rest.substr(0, comma);
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view digits = pair.substr(std::min(equals + 1, pair.size()));
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0 ||
        value > int64_t{1} << 31) {
      return InvalidArgument("'{}': expected NAME=NUMBER, as in step=40", pair);
    }
    FM_RETURN_IF_ERROR(Set(pair.substr(0, equals), value, &fault));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return fault;
}

class FaultyCommunicator : public ForwardingCommunicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> inner, std::vector<Fault> faults,
                     const int64_t* epoch)
      : ForwardingCommunicator(std::move(inner)), faults_(std::move(faults)), epoch_(*epoch) {}

  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override {
    const auto due = std::find_if(faults_.begin(), faults_.end(), [&](const Fault& fault) {
      const bool own = fault.rank == rank() && (fault.epoch == 0 || fault.epoch == epoch_);
      return own && label.step >= fault.step && (fault.layer < 0 || label.layer >= fault.layer) &&
             (!NeedsBytes(fault) || Target(send) >= 0);
    });
    if (due == faults_.end()) return inner().Start(send, recv, label);
    const Fault fault = *due;
    faults_.erase(due);
    if (NeedsBytes(fault)) return StartWrong(fault.kind, send, recv, label);
    Happen(fault);
    return inner().Start(send, recv, label);
  }

 private:
  static bool NeedsBytes(const Fault& fault) {
    return fault.kind == FaultKind::kCorrupt || fault.kind == FaultKind::kDrop;
  }

  // The first peer that is sent something; -1: none.
  int Target(std::span<const ConstBytes> send) const {
    for (int q = 0; q < size(); ++q) {
      if (q != rank() && !send[static_cast<size_t>(q)].empty()) return q;
    }
    return -1;
  }

  static void Happen(const Fault& fault) {
    switch (fault.kind) {
      case FaultKind::kKill:
        std::raise(SIGKILL);
        break;
      case FaultKind::kStop:
        std::raise(SIGSTOP);
        break;
      default:
        std::this_thread::sleep_for(std::chrono::milliseconds(fault.ms));
        break;
    }
  }

  absl::StatusOr<Exchange> StartWrong(FaultKind kind, std::span<const ConstBytes> send,
                                      std::span<const MutableBytes> recv, const WaitLabel& label) {
    std::vector<ConstBytes> wrong(send.begin(), send.end());
    ConstBytes& range = wrong[static_cast<size_t>(Target(send))];
    if (kind == FaultKind::kDrop) {
      range = {};
    } else {
      altered_.assign(range.begin(), range.end());
      altered_.front() ^= std::byte{0x40};
      range = altered_;
    }
    return inner().Start(wrong, recv, label);
  }

  std::vector<Fault> faults_;       // that have not happened, of all ranks
  const int64_t& epoch_;            // the life under way
  std::vector<std::byte> altered_;  // what is sent instead, until the exchange is over
};

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

std::unique_ptr<Communicator> AddFaults(std::unique_ptr<Communicator> inner,
                                        std::vector<Fault> plan, const int64_t* epoch) {
  if (plan.empty()) return inner;
  return std::make_unique<FaultyCommunicator>(std::move(inner), std::move(plan), epoch);
}

}  // namespace folkmoot
