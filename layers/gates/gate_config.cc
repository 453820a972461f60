// SPDX-License-Identifier: Apache-2.0
// What a GateConfig means before any token is seen: its limits, its capacities, its invariances.
#include "layers/gates/gate_config.h"

#include <algorithm>
#include <cmath>

namespace folkmoot {
namespace {

constexpr int kMaxExperts = 262144;  // index range of a random draw (runtime/random.h)

absl::Status CheckAtLeast(std::string_view field, int64_t value, int64_t least) {
  if (value >= least) return absl::OkStatus();
  return InvalidArgument("gate: {}={} is too small; give {} or more", field, value, least);
}

absl::Status CheckFinite(std::string_view field, double value, double least) {
  if (std::isfinite(value) && value >= least) return absl::OkStatus();
  return InvalidArgument("gate: {}={} must be a finite number of at least {}", field, value, least);
}

absl::Status CheckBias(std::string_view field, const std::vector<float>& bias, int experts) {
  if (bias.empty()) return absl::OkStatus();
  if (bias.size() != static_cast<size_t>(experts)) {
    return InvalidArgument("gate: {} has {} values; give one per expert (num_experts={})", field,
                           bias.size(), experts);
  }
  for (size_t e = 0; e < bias.size(); ++e) {
    if (!std::isfinite(bias[e])) {
      return InvalidArgument("gate: {}[{}]={} must be finite", field, e, bias[e]);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckExperts(const GateConfig& c) {
  if (c.num_experts < 1 || c.num_experts > kMaxExperts) {
    return InvalidArgument("gate: num_experts={} must be between 1 and {}", c.num_experts,
                           kMaxExperts);
  }
  if (c.top_k < 1 || c.top_k > c.num_experts) {
    return InvalidArgument("gate: top_k={} must be between 1 and num_experts={}", c.top_k,
                           c.num_experts);
  }
  if (c.zero_experts < 0 || c.zero_experts > c.num_experts) {
    return InvalidArgument("gate: zero_experts={} must be between 0 and num_experts={}",
                           c.zero_experts, c.num_experts);
  }
  FM_RETURN_IF_ERROR(CheckBias("router_bias", c.router_bias, c.num_experts));
  return CheckBias("selection_bias", c.selection_bias, c.num_experts);
}

absl::Status CheckGroups(const GateConfig& c) {
  if (c.n_group < 1 || c.num_experts % c.n_group != 0) {
    return InvalidArgument("gate: n_group={} must divide num_experts={}", c.n_group, c.num_experts);
  }
  if (c.topk_group < 1 || c.topk_group > c.n_group) {
    return InvalidArgument("gate: topk_group={} must be between 1 and n_group={}", c.topk_group,
                           c.n_group);
  }
  if (std::isnan(c.group_fill) || c.group_fill == std::numeric_limits<double>::infinity()) {
    return InvalidArgument("gate: group_fill={} must be a number or \"-inf\"", c.group_fill);
  }
  if (c.n_group == 1) return absl::OkStatus();
  const int eligible = c.topk_group * (c.num_experts / c.n_group);
  if (!std::isfinite(c.group_fill) && c.top_k > eligible) {
    return InvalidArgument(
        "gate: top_k={} exceeds the {} experts of the topk_group={} kept groups (num_experts={}, "
        "n_group={}); lower top_k or keep more groups",
        c.top_k, eligible, c.topk_group, c.num_experts, c.n_group);
  }
  if (c.group_score == GroupScore::kSumTopn && c.top_k < c.topk_group) {
    return InvalidArgument(
        "gate: group_score=sum_topn sums top_k / topk_group = {} / {} keys, which is none; lower "
        "topk_group or choose max",
        c.top_k, c.topk_group);
  }
  return absl::OkStatus();
}

absl::Status CheckTokenTable(const GateConfig& c) {
  const auto k = static_cast<size_t>(c.top_k);
  if (c.selection == Selection::kLearned) {
    if (c.token_table.empty()) return absl::OkStatus();
    return InvalidArgument("gate: token_table is set but selection=learned; say token_table");
  }
  if (c.token_table.empty() || c.token_table.size() % k != 0) {
    return InvalidArgument(
        "gate: selection=token_table needs token_table, a row of top_k={} expert ids for every "
        "token id; it has {} ids",
        c.top_k, c.token_table.size());
  }
  for (size_t row = 0; row < c.token_table.size() / k; ++row) {
    for (size_t j = 0; j < k; ++j) {
      const int32_t expert = c.token_table[row * k + j];
      if (expert < 0 || expert >= c.num_experts) {
        return InvalidArgument("gate: token_table[{}][{}]={} must be below num_experts={}", row, j,
                               expert, c.num_experts);
      }
      for (size_t i = 0; i < j; ++i) {
        if (c.token_table[row * k + i] == expert) {
          return InvalidArgument("gate: token_table[{}] names expert {} twice", row, expert);
        }
      }
    }
  }
  return absl::OkStatus();
}

// What its formula takes for granted: the experts are those with the largest logits.
absl::Status CheckMixer(const GateConfig& c) {
  FM_RETURN_IF_ERROR(CheckFinite("mixer_eps", c.mixer_eps, 0.0));
  if (c.weight_from != WeightFrom::kSparseMixer) return absl::OkStatus();
  const std::pair<bool, std::string_view> needs[] = {
      {c.top_k == 2, "top_k=2"},
      {c.score_fn == ScoreFn::kSoftmax, "score_fn=softmax"},
      {c.select_on == SelectOn::kLogit, "select_on=logit"},
      {c.selection_bias.empty(), "selection_bias=null"},
      {c.selection == Selection::kLearned, "selection=learned"},
      {c.n_group == 1, "n_group=1"},
      {c.extra_policy != ExtraPolicy::kSample, "an extra_policy other than sample"},
      {c.zero_experts == 0, "zero_experts=0"},
      {c.overflow != Overflow::kReroute, "an overflow other than reroute"}};
  for (const auto& [met, need] : needs) {
    if (!met) return InvalidArgument("gate: weight_from=sparse_mixer needs {}", need);
  }
  return absl::OkStatus();
}

absl::Status CheckSinks(const GateConfig& c) {
  if (c.shared_sinks < 0 || c.shared_sinks > kMaxSharedSinks) {
    return InvalidArgument("gate: shared_sinks={} must be between 0 and {}", c.shared_sinks,
                           kMaxSharedSinks);
  }
  if (c.shared_sinks > 0 && c.weight_from != WeightFrom::kScore) {
    return InvalidArgument("gate: shared_sinks={} needs weight_from=score", c.shared_sinks);
  }
  return absl::OkStatus();
}

absl::Status CheckCapacity(const GateConfig& c) {
  FM_RETURN_IF_ERROR(CheckAtLeast("capacity_fixed", c.capacity_fixed, 0));
  FM_RETURN_IF_ERROR(CheckAtLeast("min_capacity", c.min_capacity, 0));
  FM_RETURN_IF_ERROR(CheckAtLeast("capacity_multiple", c.capacity_multiple, 1));
  FM_RETURN_IF_ERROR(CheckAtLeast("group_size", c.group_size, 1));
  constexpr int64_t kMost = 1 << 30;  // places are int32
  for (const auto& [field, value] :
       {std::pair{"capacity_fixed", c.capacity_fixed}, std::pair{"min_capacity", c.min_capacity},
        std::pair{"capacity_multiple", c.capacity_multiple},
        std::pair{"group_size", c.group_size}}) {
    if (value > kMost) {
      return InvalidArgument("gate: {}={} is too large; give at most {}", field, value, kMost);
    }
  }
  FM_RETURN_IF_ERROR(CheckFinite("capacity_factor", c.capacity_factor, 0.0));
  if (c.capacity_factor > 1e6) {
    return InvalidArgument("gate: capacity_factor={} is too large; capacity=none drops nothing",
                           c.capacity_factor);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GateConfig::Validate() const {
  FM_RETURN_IF_ERROR(CheckExperts(*this));
  FM_RETURN_IF_ERROR(CheckGroups(*this));
  FM_RETURN_IF_ERROR(CheckTokenTable(*this));
  FM_RETURN_IF_ERROR(CheckMixer(*this));
  FM_RETURN_IF_ERROR(CheckSinks(*this));
  FM_RETURN_IF_ERROR(CheckCapacity(*this));
  FM_RETURN_IF_ERROR(CheckFinite("norm_eps", norm_eps, 0.0));
  FM_RETURN_IF_ERROR(CheckFinite("extra_threshold", extra_threshold, 0.0));
  FM_RETURN_IF_ERROR(CheckFinite("scale", scale, std::numeric_limits<double>::lowest()));
  if (extra_policy == ExtraPolicy::kSample && top_k != 2) {
    return InvalidArgument(
        "gate: extra_policy=sample draws a second expert and needs top_k=2, not top_k={}", top_k);
  }
  if (shared_gate != SharedGate::kNone && !shared) {
    return InvalidArgument("gate: shared_gate is set but shared=false; set shared=true");
  }
  return absl::OkStatus();
}

std::optional<int64_t> GateConfig::Capacity(int64_t tokens) const {
  const auto s = static_cast<double>(tokens);
  const auto k = static_cast<double>(top_k);
  const auto e = static_cast<double>(num_experts);
  const double f = capacity_factor;
  double places = 0.0;
  switch (capacity) {
    case CapacityMode::kNone:
      return std::nullopt;
    case CapacityMode::kFixed:
      places = static_cast<double>(capacity_fixed);
      break;
    case CapacityMode::kFraction:
      places = std::ceil(f * s);
      break;
    case CapacityMode::kCeilK:
      places = std::ceil(k * f * s / e);
      break;
    case CapacityMode::kFloor:
      places = std::floor(s * f / e);
      break;
    case CapacityMode::kRound:
      places = std::nearbyint(f * s / e);  // the default rounding mode is half to even
      break;
    case CapacityMode::kKCeil:
      places = k * std::ceil(s / e);
      break;
    case CapacityMode::kKFloorCeil:
      places = k * std::floor(f * std::ceil(s / e));
      break;
    case CapacityMode::kCeilKDiv:
      places = std::floor(std::ceil(f * s) * k / e);
      break;
    case CapacityMode::kKDiv:
      places = std::max(k, std::floor(k * s / e));
      break;
  }
  const int64_t least = std::max(static_cast<int64_t>(places), min_capacity);
  return (least + capacity_multiple - 1) / capacity_multiple * capacity_multiple;
}

bool GateConfig::UsesRandom() const {
  const bool draws_slots =
      top_k > 1 && (extra_policy == ExtraPolicy::kRandom || extra_policy == ExtraPolicy::kSample);
  return draws_slots || (CanDrop() && priority == Priority::kRandom);
}

Invariance GateConfig::invariance() const {
  if (!CanDrop()) {
    return {.kind = UsesRandom() ? InvarianceClass::kDroplessRandom : InvarianceClass::kDropless};
  }
  if (group == CapacityGroup::kStep) {
    return {.kind = InvarianceClass::kStep, .batch_mates = false, .prefill_split = false};
  }
  if (group == CapacityGroup::kRank) {
    return {.kind = InvarianceClass::kRank,
            .rank_count = false,
            .batch_mates = false,
            .prefill_split = false};
  }
  if (group == CapacityGroup::kSequence) {
    return {.kind = InvarianceClass::kSequence, .prefill_split = false};
  }
  // Rerouting waits for all natural placements of the group, so it looks ahead as well.
  if (priority == Priority::kTokenMajor && overflow != Overflow::kReroute) {
    return {.kind = InvarianceClass::kSequenceChunkCausal};
  }
  return {.kind = InvarianceClass::kSequenceChunk, .prefill_split = false};
}

bool GateConfig::CanSpeculate() const {
  const Invariance invariant = invariance();
  return invariant.batch_mates && invariant.prefill_split;
}

bool GateConfig::PrefixCacheable() const {
  const bool own_draws = UsesRandom() && rng_scope == RngScope::kSequenceId;
  return CanSpeculate() && !own_draws;
}

std::string_view Name(InvarianceClass kind) {
  switch (kind) {
    case InvarianceClass::kDropless:
      return "dropless";
    case InvarianceClass::kDroplessRandom:
      return "dropless_random";
    case InvarianceClass::kSequenceChunkCausal:
      return "sequence_chunk_causal";
    case InvarianceClass::kSequenceChunk:
      return "sequence_chunk";
    case InvarianceClass::kSequence:
      return "sequence";
    case InvarianceClass::kStep:
      return "step";
    case InvarianceClass::kRank:
      return "rank";
  }
  return "";
}

}  // namespace folkmoot
