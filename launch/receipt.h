// SPDX-License-Identifier: Apache-2.0
// What a gate did to a request, for the one who asked: choices rejected by the extra-expert policy
// and choices that found no place.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "launch/engine.h"
#include "launch/table.h"
#include "nlohmann/json_fwd.hpp"
#include "parallel/expert_placement.h"
#include "scheduler/step_plan.h"

namespace folkmoot {

// The drops of one choice of a request; every result replaces what the one before said.
class Receipt {
 public:
  void Add(const SequenceResult& result);
  int64_t rejected() const;
  int64_t overflow() const;
  // {"rejected": n, "overflow": n, "layers": [{"layer": i, "rejected": n, "overflow": n}, ...]}:
  // every MoE layer when the gate can lose choices, none when it cannot.
  nlohmann::ordered_json ToJson() const;

 private:
  std::map<int32_t, DropCounts> layers_;
};

// Tokens per expert, summed over layers, and where the experts live.
ExpertLoad LoadOf(const ExpertCounts& counts, const ExpertPlacement& placement);

}  // namespace folkmoot
