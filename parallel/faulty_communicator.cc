// SPDX-License-Identifier: Apache-2.0
#include "parallel/faulty_communicator.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "parallel/forwarding_communicator.h"

namespace folkmoot {
namespace {

absl::Status Broken(const char* what) { return Unavailable("{}: {}", what, std::strerror(errno)); }

class FaultyCommunicator : public ForwardingCommunicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> inner, std::vector<Fault> faults,
                     const int64_t* epoch)
      : ForwardingCommunicator(std::move(inner)), faults_(std::move(faults)), epoch_(*epoch) {}

  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override {
    if (FaultAt(FaultPoint::kExchangeStart)) return Broken(label.phase);
    const auto due = std::find_if(faults_.begin(), faults_.end(), [&](const Fault& fault) {
      return IsAtExchangesOf(fault, rank(), epoch_) && label.step >= fault.step &&
             (fault.layer < 0 || label.layer >= fault.layer) &&
             (!NeedsBytes(fault) || Target(send) >= 0);
    });
    if (due == faults_.end()) return inner().Start(send, recv, label);
    const Fault fault = *due;
    faults_.erase(due);
    if (NeedsBytes(fault)) return StartWrong(fault.kind, send, recv, label);
    Happen(fault);
    return inner().Start(send, recv, label);
  }

  absl::Status Wait(Exchange exchange) override {
    const absl::Status status = inner().Wait(exchange);
    if (status.ok() && FaultAt(FaultPoint::kExchangeWait)) return Broken("an exchange");
    return status;
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

std::unique_ptr<Communicator> AddFaults(std::unique_ptr<Communicator> inner,
                                        std::vector<Fault> plan, const int64_t* epoch) {
  if (plan.empty()) return inner;
  return std::make_unique<FaultyCommunicator>(std::move(inner), std::move(plan), epoch);
}

}  // namespace folkmoot
