// SPDX-License-Identifier: Apache-2.0
// PlaceGroup: order the choices by arrival, let each take the next place of its expert, then let
// those that came too late look elsewhere if the config says so.
#include "layers/gates/placement.h"

#include <algorithm>
#include <limits>

namespace folkmoot {
namespace {

// A choice by its token's index in the group.
struct Arrival {
  int64_t token;
  int32_t slot;
};

// Fills `order` [tokens * K] with all choices in the order in which they claim places.
void ArrivalOrder(const GateConfig& config, const CapacityGroupView& group, const Decisions& d,
                  std::span<Arrival> order) {
  const size_t tokens = group.tokens.size();
  const auto k = static_cast<size_t>(d.top_k);
  const bool token_major = config.priority == Priority::kTokenMajor;
  for (size_t i = 0; i < tokens; ++i) {
    for (size_t j = 0; j < k; ++j) {
      order[token_major ? i * k + j : j * tokens + i] = {static_cast<int64_t>(i),
                                                         static_cast<int32_t>(j)};
    }
  }
  if (!UsesUrgency(config)) return;
  const auto urgency = [&](const Arrival& a) {
    return d.urgency[d.At(group.tokens[static_cast<size_t>(a.token)], a.slot)];
  };
  // Batch priority moves tokens but keeps all first choices before all second ones.
  const bool slots_first = config.priority == Priority::kBatchPrioritized;
  std::sort(order.begin(), order.end(), [&](const Arrival& a, const Arrival& b) {
    if (slots_first && a.slot != b.slot) return a.slot < b.slot;
    const double ua = urgency(a);
    const double ub = urgency(b);
    if (ua != ub) return ua > ub;
    if (a.token != b.token) return a.token < b.token;
    return a.slot < b.slot;
  });
}

void Claims(const GateConfig& config, const CapacityGroupView& group, int64_t limit,
            std::span<const Arrival> order, Decisions& d) {
  for (const Arrival& arrival : order) {
    const size_t at = d.At(group.tokens[static_cast<size_t>(arrival.token)], arrival.slot);
    int32_t& used = group.used[static_cast<size_t>(d.expert[at])];
    if (d.claim[at] == Claim::kRejected && config.rejected_consumes) ++used;
    if (d.claim[at] != Claim::kWanted) continue;
    d.place[at] = used;
    d.claim[at] = used < limit ? Claim::kKept : Claim::kOverflow;
    ++used;
  }
}

// Orders that pick the survivors of an expert first then pack them in token order.
void PackSurvivors(const CapacityGroupView& group, std::span<int32_t> next, Decisions& d) {
  for (const int64_t token : group.tokens) {
    for (int j = 0; j < d.top_k; ++j) {
      const size_t at = d.At(token, j);
      if (d.claim[at] == Claim::kKept) d.place[at] = next[static_cast<size_t>(d.expert[at])]++;
    }
  }
}

// The best expert that `token` has not asked for and that has a free place; -1 if there is none.
int32_t FreeExpert(std::span<const double> key, std::span<const int32_t> asked,
                   std::span<const int32_t> used, int64_t limit) {
  int32_t best = -1;
  double best_key = -std::numeric_limits<double>::infinity();
  for (size_t e = 0; e < key.size(); ++e) {
    if (!(key[e] > best_key) || used[e] >= limit) continue;
    if (std::find(asked.begin(), asked.end(), static_cast<int32_t>(e)) != asked.end()) continue;
    best = static_cast<int32_t>(e);
    best_key = key[e];
  }
  return best;
}

void Reroute(const CapacityGroupView& group, int64_t limit, std::span<const Arrival> order,
             Decisions& d) {
  const size_t experts = group.used.size();
  const auto k = static_cast<size_t>(d.top_k);
  for (int32_t& used : group.used) {
    used = static_cast<int32_t>(std::min<int64_t>(used, limit));
  }
  for (const Arrival& arrival : order) {
    const auto token = static_cast<size_t>(group.tokens[static_cast<size_t>(arrival.token)]);
    const size_t at = d.At(static_cast<int64_t>(token), arrival.slot);
    if (d.claim[at] != Claim::kOverflow) continue;
    const int32_t found = FreeExpert(d.key.subspan(token * experts, experts),
                                     d.expert.subspan(token * k, k), group.used, limit);
    if (found < 0) continue;
    d.expert[at] = found;
    d.claim[at] = Claim::kRerouted;
    d.place[at] = group.used[static_cast<size_t>(found)]++;
  }
}

}  // namespace

void PlaceGroup(const GateConfig& config, const CapacityGroupView& group, Workspace& workspace,
                Decisions& decisions) {
  const Workspace::Position mark = workspace.Mark();
  const int64_t limit = group.capacity.value_or(std::numeric_limits<int64_t>::max());
  const auto order =
      workspace.Get<Arrival>(static_cast<int64_t>(group.tokens.size()) * decisions.top_k);
  ArrivalOrder(config, group, decisions, order);

  const bool packs =
      config.priority == Priority::kWeightDesc || config.priority == Priority::kRandom;
  std::span<int32_t> next;
  if (packs) {
    next = workspace.Get<int32_t>(static_cast<int64_t>(group.used.size()));
    std::copy(group.used.begin(), group.used.end(), next.begin());
  }
  for (const int64_t token : group.tokens) {
    for (int j = 0; j < decisions.top_k; ++j) decisions.place[decisions.At(token, j)] = -1;
  }
  Claims(config, group, limit, order, decisions);
  if (packs) PackSurvivors(group, next, decisions);
  if (Reroutes(config)) Reroute(group, limit, order, decisions);
  workspace.Release(mark);
}

void CountClaims(const GateConfig& config, int64_t position, std::span<const int32_t> expert,
                 std::span<const SlotState> state, std::span<int32_t> used) {
  if (position % config.group_size == 0) std::fill(used.begin(), used.end(), 0);
  for (size_t slot = 0; slot < expert.size(); ++slot) {
    if (state[slot] == SlotState::kRejected && !config.rejected_consumes) continue;
    ++used[static_cast<size_t>(expert[slot])];
  }
}

}  // namespace folkmoot
