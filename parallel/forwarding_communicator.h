// SPDX-License-Identifier: Apache-2.0
// A communicator around another one, which does everything until a subclass does something else.
#pragma once

#include <memory>
#include <utility>

#include "parallel/communicator.h"

namespace folkmoot {

class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  absl::StatusOr<Exchange> Start(std::span<const ConstBytes> send,
                                 std::span<const MutableBytes> recv,
                                 const WaitLabel& label) override {
    return inner_->Start(send, recv, label);
  }
  absl::Status Wait(Exchange exchange) override { return inner_->Wait(exchange); }
  absl::Status CheckPeers(const WaitLabel& label) override { return inner_->CheckPeers(label); }
  void BeginOtherWait(const WaitLabel& label) override { inner_->BeginOtherWait(label); }
  void EndOtherWait() override { inner_->EndOtherWait(); }
  void set_timeout(std::chrono::milliseconds timeout) override { inner_->set_timeout(timeout); }
  std::chrono::milliseconds timeout() const override { return inner_->timeout(); }
  void Abandon(const absl::Status& reason) override { inner_->Abandon(reason); }

 protected:
  Communicator& inner() { return *inner_; }

 private:
  std::unique_ptr<Communicator> inner_;
};

}  // namespace folkmoot
