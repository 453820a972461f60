// SPDX-License-Identifier: Apache-2.0
#include "launch/model_rules.h"

#include "layers/models/model.h"

namespace folkmoot {

absl::Status ModelRules::Check(const Request& request) const {
  FM_RETURN_IF_ERROR(CheckGate(request.gate));
  const bool encodes = config_.has_encoder();
  if (request.pooling != Pooling::kNone && encodes) {
    return InvalidArgument(
        "embeddings are hidden states of a decoder's prompt, and this model has an encoder");
  }
  if (request.pooling != Pooling::kNone && !embeddings_) {
    return InvalidArgument(
        "embeddings need the last hidden states, which models on GPUs do not keep: serve the model "
        "with --device cpu");
  }
  if (encodes && request.source == 0) {
    return InvalidArgument(
        "this model has an encoder: a request needs a source, and tokens with which the output "
        "begins");
  }
  if (!encodes && request.source > 0) {
    return InvalidArgument("a request has a source of {} tokens, but this model has no encoder",
                           request.source);
  }
  return absl::OkStatus();
}

absl::Status ModelRules::CheckGate(const std::string& overrides) const {
  if (overrides.empty()) return absl::OkStatus();
  return OverrideGate(config_, gate_, overrides).status();
}

bool ModelRules::GateIsCacheable(const std::string& overrides) const {
  if (overrides.empty()) return PrefixCacheable(config_, gate_);
  const auto gate = OverrideGate(config_, gate_, overrides);
  return gate.ok() && PrefixCacheable(config_, *gate);
}

bool ModelRules::GateCanSpeculate(const std::string& overrides) const {
  if (!WhyNotSpeculative(config_).empty()) return false;
  if (overrides.empty()) return gate_.CanSpeculate();
  const auto gate = OverrideGate(config_, gate_, overrides);
  return gate.ok() && gate->CanSpeculate();
}

SchedulerOptions ModelRules::WithGates(SchedulerOptions options) const {
  if (!options.gate_is_cacheable) {
    // Pages do not hold recurrent state: without copies of it, nobody can go on behind them.
    const bool resumes = options.slots_per_rank == 0 || options.snapshots_per_rank > 0;
    options.gate_is_cacheable = [this, resumes](const std::string& gate) {
      return resumes && GateIsCacheable(gate);
    };
  }
  options.output_window = config_.output_window();
  if (!options.gate_can_speculate) {
    options.gate_can_speculate = [this](const std::string& gate) { return GateCanSpeculate(gate); };
  }
  return options;
}

}  // namespace folkmoot
