// SPDX-License-Identifier: Apache-2.0
// The front end's way to the ranks of an engine that lives in other processes, and may die: rank 0
// of each life connects, says what it has loaded and since when, and answers plans.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "launch/executor.h"
#include "launch/supervisor/control.h"
#include "launch/supervisor/frame_channel.h"
#include "parallel/progress.h"

namespace folkmoot {

class RemoteExecutor : public Executor {
 public:
  // `source`: where connections of rank 0 come from (handoff.h). `expected`: what the front end
  // knows of the model and the flags; an engine that differs is refused by the name of the field.
  // `progress`: told how the calling thread gets on; may be null.
  RemoteExecutor(FileDescriptor source, AgreementFields expected, Progress* progress = nullptr);

  // Of the last life; not before the first, which Renew waits for as for any other.
  const EngineHello& hello() const { return *hello_; }
  // Once, when the first life is known; `rules` must outlive the executor.
  void set_rules(const ModelRules& rules) { rules_ = &rules; }

  int64_t epoch() const override { return hello_->epoch; }
  uint64_t placement_version() const override { return hello_->placement_version; }
  const ModelRules& rules() const override { return *rules_; }
  bool wants_frame() const override { return true; }
  absl::StatusOr<std::vector<StepResult>> Run(PlannedStep& step, StepSeconds* seconds) override;
  absl::Status Shutdown(PlannedStep& step) override;
  bool renewable() const override { return true; }
  bool lost() const override;
  bool begun() const override { return begun_; }
  absl::StatusOr<std::vector<int>> Renew(int64_t first_step,
                                         std::chrono::milliseconds patience) override;

 private:
  absl::Status CheckHello(const EngineHello& hello) const;
  std::vector<int> EmptyParts(const EngineHello& hello) const;
  absl::StatusOr<std::string> Ask(const PlannedStep& step);

  FileDescriptor source_;
  AgreementFields expected_;
  Progress* progress_;
  std::optional<EngineHello> hello_;
  std::optional<FrameChannel> channel_;
  const ModelRules* rules_ = nullptr;
  bool begun_ = false;
};

}  // namespace folkmoot
