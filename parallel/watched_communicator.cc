// SPDX-License-Identifier: Apache-2.0
#include "parallel/watched_communicator.h"

#include <utility>
#include <vector>

namespace folkmoot {
namespace {

class WatchedCommunicator : public Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> inner, Progress& progress)
      : inner_(std::move(inner)), progress_(progress) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override {
    FM_ASSIGN_OR_RETURN(const Exchange exchange, inner_->Start(send, recv, label));
    const auto slot = static_cast<size_t>(exchange.slot);
    if (slot >= labels_.size()) labels_.resize(slot + 1);
    labels_[slot] = label;
    return exchange;
  }

  absl::Status Wait(Exchange exchange) override {
    progress_.Begin(labels_[static_cast<size_t>(exchange.slot)]);
    absl::Status status = inner_->Wait(exchange);
    progress_.End();
    return status;
  }

  absl::Status CheckPeers(const WaitLabel& label) override { return inner_->CheckPeers(label); }
  void BeginOtherWait(const WaitLabel& label) override { progress_.Begin(label); }
  void EndOtherWait() override { progress_.End(); }
  void set_timeout(std::chrono::milliseconds timeout) override { inner_->set_timeout(timeout); }
  std::chrono::milliseconds timeout() const override { return inner_->timeout(); }
  void Abandon(const absl::Status& reason) override { inner_->Abandon(reason); }

 private:
  std::unique_ptr<Communicator> inner_;
  Progress& progress_;
  std::vector<WaitLabel> labels_;  // by slot
};

}  // namespace

std::unique_ptr<Communicator> WatchCommunicator(std::unique_ptr<Communicator> inner,
                                                Progress& progress) {
  return std::make_unique<WatchedCommunicator>(std::move(inner), progress);
}

}  // namespace folkmoot
