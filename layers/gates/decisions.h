// SPDX-License-Identifier: Apache-2.0
// What the stages of a gate hand to each other: flat arrays over the tokens of one rank, or of all
// ranks while a `step` group is placed. Memory belongs to the step's workspace.
#pragma once

#include <cstdint>
#include <span>

#include "layers/gates/gate_config.h"
#include "runtime/workspace.h"

namespace folkmoot {

// Where a choice stands. Selection leaves the first three; placement resolves kWanted.
enum class Claim : uint8_t { kPadding, kRejected, kWanted, kKept, kOverflow, kRerouted };

struct Decisions {
  int64_t tokens = 0;
  int top_k = 0;
  std::span<int32_t> expert;    // [T, K]
  std::span<Claim> claim;       // [T, K]
  std::span<int32_t> place;     // [T, K]; -1 = none
  std::span<double> urgency;    // [T, K] larger is placed earlier; empty for fixed orders
  std::span<double> key;        // [T, E] selection keys; only for overflow = reroute
  std::span<int64_t> order;     // [T] admission order of the token's sequence
  std::span<int64_t> position;  // [T] position in the sequence
  // Only at the rank that owns the tokens:
  std::span<double> raw;    // [T, K] weights before normalisation
  std::span<double> sinks;  // [T, S] scores of shared experts
  std::span<double> score;  // [T, E]; only for overflow = reroute

  size_t At(int64_t token, int slot) const { return static_cast<size_t>(token * top_k + slot); }
  std::span<double> SinksOf(const GateConfig& config, int64_t token) const {
    const auto count = static_cast<size_t>(config.shared_sinks);
    return sinks.subspan(static_cast<size_t>(token) * count, count);
  }
};

// Is the order of arrival decided by a value of each choice?
inline bool UsesUrgency(const GateConfig& config) {
  return config.priority == Priority::kBatchPrioritized ||
         config.priority == Priority::kWeightDesc || config.priority == Priority::kRandom;
}
inline bool Reroutes(const GateConfig& config) {
  return config.CanDrop() && config.overflow == Overflow::kReroute;
}

// The arrays that placement needs, for `tokens` tokens.
inline Decisions AllocateDecisions(const GateConfig& config, Workspace& workspace, int64_t tokens) {
  Decisions d;
  d.tokens = tokens;
  d.top_k = config.top_k;
  const int64_t choices = tokens * config.top_k;
  d.expert = workspace.Get<int32_t>(choices);
  d.claim = workspace.Get<Claim>(choices);
  d.place = workspace.Get<int32_t>(choices);
  if (UsesUrgency(config)) d.urgency = workspace.Get<double>(choices);
  if (Reroutes(config)) d.key = workspace.Get<double>(tokens * config.num_experts);
  d.order = workspace.Get<int64_t>(tokens);
  d.position = workspace.Get<int64_t>(tokens);
  return d;
}

}  // namespace folkmoot
