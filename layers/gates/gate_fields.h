// SPDX-License-Identifier: Apache-2.0
// The fields of GateConfig by name: the one list behind JSON, --gate and ToJson.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "layers/gates/gate_config.h"

namespace folkmoot {

template <typename E>
struct EnumName {
  std::string_view name;
  E value;
};

// The names of an enum's values; the first name of a value is the one that is written.
constexpr std::array<EnumName<RouterDtype>, 4> NamesOf(RouterDtype) {
  return {{{"fp32", RouterDtype::kFp32},
           {"bf16", RouterDtype::kBf16},
           {"float32", RouterDtype::kFp32},
           {"bfloat16", RouterDtype::kBf16}}};
}
constexpr std::array<EnumName<ScoreFn>, 4> NamesOf(ScoreFn) {
  return {{{"softmax", ScoreFn::kSoftmax},
           {"sigmoid", ScoreFn::kSigmoid},
           {"sqrt_softplus", ScoreFn::kSqrtSoftplus},
           {"logits", ScoreFn::kLogits}}};
}
constexpr std::array<EnumName<SelectOn>, 2> NamesOf(SelectOn) {
  return {{{"score", SelectOn::kScore}, {"logit", SelectOn::kLogit}}};
}
constexpr std::array<EnumName<Selection>, 2> NamesOf(Selection) {
  return {{{"learned", Selection::kLearned}, {"token_table", Selection::kTokenTable}}};
}
constexpr std::array<EnumName<GroupScore>, 3> NamesOf(GroupScore) {
  return {{{"max", GroupScore::kMax},
           {"sum_top2", GroupScore::kSumTop2},
           {"sum_topn", GroupScore::kSumTopn}}};
}
constexpr std::array<EnumName<WeightFrom>, 3> NamesOf(WeightFrom) {
  return {{{"score", WeightFrom::kScore},
           {"softmax_selected", WeightFrom::kSoftmaxSelected},
           {"sparse_mixer", WeightFrom::kSparseMixer}}};
}
constexpr std::array<EnumName<Normalize>, 3> NamesOf(Normalize) {
  return {{{"none", Normalize::kNone},
           {"before_drop", Normalize::kBeforeDrop},
           {"after_drop", Normalize::kAfterDrop}}};
}
constexpr std::array<EnumName<NormEpsMode>, 2> NamesOf(NormEpsMode) {
  return {{{"add", NormEpsMode::kAdd}, {"clamp", NormEpsMode::kClamp}}};
}
constexpr std::array<EnumName<ExtraPolicy>, 5> NamesOf(ExtraPolicy) {
  return {{{"all", ExtraPolicy::kAll},
           {"none", ExtraPolicy::kNone},
           {"threshold", ExtraPolicy::kThreshold},
           {"random", ExtraPolicy::kRandom},
           {"sample", ExtraPolicy::kSample}}};
}
constexpr std::array<EnumName<ExtraGate>, 2> NamesOf(ExtraGate) {
  return {{{"normalized", ExtraGate::kNormalized}, {"raw", ExtraGate::kRaw}}};
}
constexpr std::array<EnumName<CapacityMode>, 10> NamesOf(CapacityMode) {
  return {{{"none", CapacityMode::kNone},
           {"fixed", CapacityMode::kFixed},
           {"fraction", CapacityMode::kFraction},
           {"ceil_k", CapacityMode::kCeilK},
           {"floor", CapacityMode::kFloor},
           {"round", CapacityMode::kRound},
           {"k_ceil", CapacityMode::kKCeil},
           {"k_floor_ceil", CapacityMode::kKFloorCeil},
           {"ceil_k_div", CapacityMode::kCeilKDiv},
           {"k_div", CapacityMode::kKDiv}}};
}
constexpr std::array<EnumName<CapacityGroup>, 4> NamesOf(CapacityGroup) {
  return {{{"step", CapacityGroup::kStep},
           {"sequence_chunk", CapacityGroup::kSequenceChunk},
           {"rank", CapacityGroup::kRank},
           {"sequence", CapacityGroup::kSequence}}};
}
constexpr std::array<EnumName<Priority>, 5> NamesOf(Priority) {
  return {{{"slot_major", Priority::kSlotMajor},
           {"token_major", Priority::kTokenMajor},
           {"batch_prioritized", Priority::kBatchPrioritized},
           {"weight_desc", Priority::kWeightDesc},
           {"random", Priority::kRandom}}};
}
constexpr std::array<EnumName<Overflow>, 4> NamesOf(Overflow) {
  return {{{"residual", Overflow::kResidual},
           {"passthrough", Overflow::kPassthrough},
           {"reroute", Overflow::kReroute},
           {"drop", Overflow::kResidual}}};
}
constexpr std::array<EnumName<ApplyTo>, 2> NamesOf(ApplyTo) {
  return {{{"output", ApplyTo::kOutput}, {"input", ApplyTo::kInput}}};
}
constexpr std::array<EnumName<SharedGate>, 3> NamesOf(SharedGate) {
  return {{{"none", SharedGate::kNone},
           {"sigmoid", SharedGate::kSigmoid},
           {"softmax2", SharedGate::kSoftmax2}}};
}
constexpr std::array<EnumName<ZeroOutput>, 2> NamesOf(ZeroOutput) {
  return {{{"identity", ZeroOutput::kIdentity}, {"nothing", ZeroOutput::kNothing}}};
}
constexpr std::array<EnumName<RngScope>, 2> NamesOf(RngScope) {
  return {{{"prefix", RngScope::kPrefix}, {"sequence_id", RngScope::kSequenceId}}};
}

// Calls visit(name, field) for every field of `config` in the order of the header. Config is
// GateConfig or const GateConfig.
template <typename Config, typename Visitor>
void VisitGateFields(Config& config, Visitor&& visit) {
  visit("num_experts", config.num_experts);
  visit("top_k", config.top_k);
  visit("router_dtype", config.router_dtype);
  visit("router_bias", config.router_bias);
  visit("score_fn", config.score_fn);
  visit("select_on", config.select_on);
  visit("selection_bias", config.selection_bias);
  visit("selection", config.selection);
  visit("token_table", config.token_table);
  visit("n_group", config.n_group);
  visit("topk_group", config.topk_group);
  visit("group_score", config.group_score);
  visit("group_fill", config.group_fill);
  visit("weight_from", config.weight_from);
  visit("mixer_eps", config.mixer_eps);
  visit("normalize", config.normalize);
  visit("norm_eps", config.norm_eps);
  visit("norm_eps_mode", config.norm_eps_mode);
  visit("extra_policy", config.extra_policy);
  visit("extra_threshold", config.extra_threshold);
  visit("extra_gate", config.extra_gate);
  visit("rejected_consumes", config.rejected_consumes);
  visit("capacity", config.capacity);
  visit("capacity_factor", config.capacity_factor);
  visit("capacity_fixed", config.capacity_fixed);
  visit("min_capacity", config.min_capacity);
  visit("capacity_multiple", config.capacity_multiple);
  visit("group", config.group);
  visit("group_size", config.group_size);
  visit("priority", config.priority);
  visit("overflow", config.overflow);
  visit("scale", config.scale);
  visit("apply_to", config.apply_to);
  visit("shared", config.shared);
  visit("shared_gate", config.shared_gate);
  visit("shared_sinks", config.shared_sinks);
  visit("zero_experts", config.zero_experts);
  visit("zero_output", config.zero_output);
  visit("seed", config.seed);
  visit("rng_scope", config.rng_scope);
}

}  // namespace folkmoot
