// SPDX-License-Identifier: Apache-2.0
// What requests may ask of a model, as far as its configuration says: known where the weights are
// not.
#pragma once

#include <string>

#include "layers/gates/gate_config.h"
#include "runtime/model_config.h"
#include "runtime/status.h"
#include "scheduler/request.h"
#include "scheduler/scheduler.h"

namespace folkmoot {

class ModelRules {
 public:
  // `gate`: the model's, with the operator's overrides. `embeddings`: prompts may be pooled.
  ModelRules(ModelConfig config, GateConfig gate, bool embeddings)
      : config_(std::move(config)), gate_(std::move(gate)), embeddings_(embeddings) {}

  const ModelConfig& config() const { return config_; }
  const GateConfig& gate() const { return gate_; }
  bool gives_embeddings() const { return embeddings_; }

  // Says why not.
  absl::Status Check(const Request& request) const;
  // May the model's gate be overridden like this?
  absl::Status CheckGate(const std::string& overrides) const;
  // May requests with these overrides share pages of equal prefixes?
  bool GateIsCacheable(const std::string& overrides) const;
  // May their tokens be guessed (CanSpeculate)?
  bool GateCanSpeculate(const std::string& overrides) const;

  // The same options, with the model's window, and the gates' rules where they have none. The rules
  // must outlive them.
  SchedulerOptions WithGates(SchedulerOptions options) const;

 private:
  ModelConfig config_;
  GateConfig gate_;
  bool embeddings_;
};

}  // namespace folkmoot
