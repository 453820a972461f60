// SPDX-License-Identifier: Apache-2.0
#include "parallel/watched_communicator.h"

#include <utility>
#include <vector>

#include "parallel/forwarding_communicator.h"

namespace folkmoot {
namespace {

class WatchedCommunicator : public ForwardingCommunicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> inner, Progress& progress)
      : ForwardingCommunicator(std::move(inner)), progress_(progress) {}

  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override {
    FM_ASSIGN_OR_RETURN(const Exchange exchange, inner().Start(send, recv, label));
    const auto slot = static_cast<size_t>(exchange.slot);
    if (slot >= labels_.size()) labels_.resize(slot + 1);
    labels_[slot] = label;
    return exchange;
  }

  absl::Status Wait(Exchange exchange) override {
    progress_.Begin(labels_[static_cast<size_t>(exchange.slot)]);
    absl::Status status = inner().Wait(exchange);
    progress_.End();
    return status;
  }

  void BeginOtherWait(const WaitLabel& label) override { progress_.Begin(label); }
  void EndOtherWait() override { progress_.End(); }

 private:
  Progress& progress_;
  std::vector<WaitLabel> labels_;  // by slot
};

}  // namespace

std::unique_ptr<Communicator> WatchCommunicator(std::unique_ptr<Communicator> inner,
                                                Progress& progress) {
  return std::make_unique<WatchedCommunicator>(std::move(inner), progress);
}

}  // namespace folkmoot
