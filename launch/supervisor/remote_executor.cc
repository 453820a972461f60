// SPDX-License-Identifier: Apache-2.0
#include "launch/supervisor/remote_executor.h"

#include <poll.h>

#include <utility>

#include "launch/supervisor/handoff.h"

namespace folkmoot {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHello{5'000};
// A rank that hangs is ended by the supervisor long before, and the connection with it.
constexpr milliseconds kReply{std::chrono::hours(24)};
constexpr milliseconds kSendPlan{60'000};

}  // namespace

RemoteExecutor::RemoteExecutor(FileDescriptor source, AgreementFields expected, Progress* progress)
    : source_(std::move(source)), expected_(std::move(expected)), progress_(progress) {}

absl::Status RemoteExecutor::CheckHello(const EngineHello& hello) const {
  for (size_t i = 0; i < std::min(expected_.size(), hello.fields.size()); ++i) {
    if (expected_[i] == hello.fields[i]) continue;
    return FailedPrecondition(
        "the engine differs from the front end in {}: '{}' there, '{}' here; restart the server "
        "after changing the program, the model or the flags",
        expected_[i].first, hello.fields[i].second, expected_[i].second);
  }
  if (expected_.size() != hello.fields.size()) {
    return FailedPrecondition("the engine runs another build than the front end");
  }
  if (!hello_) return absl::OkStatus();
  if (hello.epoch <= hello_->epoch) {
    return FailedPrecondition("an engine of life {} came after one of life {}", hello.epoch,
                              hello_->epoch);
  }
  if (hello.ranks != hello_->ranks || hello.blocks_per_rank != hello_->blocks_per_rank ||
      hello.slots_per_rank != hello_->slots_per_rank ||
      hello.snapshots_per_rank != hello_->snapshots_per_rank ||
      hello.tensor_parallel != hello_->tensor_parallel ||
      hello.rank_of_expert != hello_->rank_of_expert) {
    return FailedPrecondition(
        "the new engine has {} ranks with {} pages of keys and values, {} slots of recurrent state "
        "and {} copies each; the old one had {} with {}, {} and {}",
        hello.ranks, hello.blocks_per_rank, hello.slots_per_rank, hello.snapshots_per_rank,
        hello_->ranks, hello_->blocks_per_rank, hello_->slots_per_rank, hello_->snapshots_per_rank);
  }
  return absl::OkStatus();
}

// Ranks that have been what they are since the last life that was met here, or longer, have pages
// that the scheduler knows.
std::vector<int> RemoteExecutor::EmptyParts(const EngineHello& hello) const {
  std::vector<int> empty;
  for (size_t r = 0; r < hello.since.size(); ++r) {
    if (!hello_ || hello.since[r] > hello_->epoch) empty.push_back(static_cast<int>(r));
  }
  if (hello.tensor_parallel && !empty.empty()) return {0};
  return empty;
}

absl::StatusOr<std::vector<int>> RemoteExecutor::Renew(int64_t first_step, milliseconds patience) {
  if (channel_) channel_->HangUp();  // an old engine that still lives sees it and leaves
  channel_.reset();
  if (progress_ != nullptr) progress_->GetOn();
  pollfd wait = {.fd = source_.get(), .events = POLLIN, .revents = 0};
  if (poll(&wait, 1, static_cast<int>(patience.count())) <= 0) {
    return DeadlineExceeded("no engine has come");
  }
  absl::StatusOr<FileDescriptor> socket = NextConnection(source_.get());
  if (!socket.ok()) return DeadlineExceeded("{}", Message(socket.status()));
  FrameChannel channel(*std::move(socket), kPlanFrameBytes);
  const absl::StatusOr<std::string> message = channel.Receive(kHello);
  // One that died before it spoke: the next will come.
  if (!message.ok()) return DeadlineExceeded("{}", Message(message.status()));
  EngineHello hello;
  FM_RETURN_IF_ERROR(Decode(*message, &hello));
  FM_RETURN_IF_ERROR(CheckHello(hello));
  const absl::Status welcome =
      channel.Send(Encode(EngineWelcome{.first_step = first_step}), kSendPlan);
  if (!welcome.ok()) return DeadlineExceeded("{}", Message(welcome));
  std::vector<int> empty = EmptyParts(hello);
  hello_ = std::move(hello);
  channel_.emplace(std::move(channel));
  return empty;
}

bool RemoteExecutor::lost() const {
  if (progress_ != nullptr) progress_->GetOn();  // asked again and again while there is no step
  return !channel_ || channel_->closed();
}

// The supervisor watches the ranks: they are waited for as long as they are there.
absl::StatusOr<std::string> RemoteExecutor::Ask(const PlannedStep& step) {
  if (progress_ != nullptr) {
    progress_->Begin({.phase = "answer of the engine", .step = step.plan.step});
  }
  const absl::Status sent = channel_->Send(step.frame, kSendPlan);
  absl::StatusOr<std::string> answer = sent.ok() ? channel_->Receive(kReply) : sent;
  // Between its hello and its first plan rank 0 may hear that another rank has died.
  begun_ = sent.ok() && !channel_->left_unread();
  if (progress_ != nullptr) progress_->End();
  return answer;
}

absl::StatusOr<std::vector<StepResult>> RemoteExecutor::Run(PlannedStep& step,
                                                            StepSeconds* seconds) {
  begun_ = false;
  if (!channel_) return Unavailable("the engine is gone");
  FM_ASSIGN_OR_RETURN(const std::string message, Ask(step));
  StepReply reply;
  FM_RETURN_IF_ERROR(Decode(message, &reply));
  FM_RETURN_IF_ERROR(reply.status);
  if (reply.results.size() != step.plan.ranks.size()) {
    return DataLoss("{} results for a plan of {} parts", reply.results.size(),
                    step.plan.ranks.size());
  }
  seconds->broadcast += reply.seconds.broadcast;
  seconds->model += reply.seconds.model;
  seconds->sample += reply.seconds.sample;
  seconds->gather += reply.seconds.gather;
  return std::move(reply.results);
}

absl::Status RemoteExecutor::Shutdown(PlannedStep& step) {
  // Ranks that are gone already have nothing to be told.
  if (channel_) (void)channel_->Send(step.frame, kSendPlan);
  return absl::OkStatus();
}

}  // namespace folkmoot
