// SPDX-License-Identifier: Apache-2.0
#include "layers/gpu/device_gate.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "fmt/format.h"
#include "parallel/routing.h"

namespace folkmoot {
namespace {

// routing.h hands enumerators over as numbers; runtime/cuda/route_choose.cuh names them again.
static_assert(static_cast<int>(ScoreFn::kSoftmax) == 0 && static_cast<int>(ScoreFn::kSigmoid) == 1);
static_assert(static_cast<int>(ScoreFn::kSqrtSoftplus) == 2);
static_assert(static_cast<int>(ScoreFn::kLogits) == 3);
static_assert(static_cast<int>(GroupScore::kMax) == 0);
static_assert(static_cast<int>(GroupScore::kSumTop2) == 1);
static_assert(static_cast<int>(GroupScore::kSumTopn) == 2);
static_assert(static_cast<int>(Normalize::kNone) == 0);
static_assert(static_cast<int>(Normalize::kBeforeDrop) == 1);
static_assert(static_cast<int>(Normalize::kAfterDrop) == 2);
static_assert(static_cast<int>(ExtraPolicy::kAll) == 0 &&
              static_cast<int>(ExtraPolicy::kNone) == 1);
static_assert(static_cast<int>(ExtraPolicy::kThreshold) == 2);
static_assert(static_cast<int>(ExtraPolicy::kRandom) == 3);
static_assert(static_cast<int>(ExtraPolicy::kSample) == 4);
static_assert(static_cast<int>(SlotState::kKept) == 0);
static_assert(static_cast<int>(SlotState::kRejected) == 1);
static_assert(static_cast<int>(SlotState::kOverflow) == 2);
static_assert(static_cast<int>(SlotAction::kNone) == 0);
static_assert(static_cast<int>(SlotAction::kExpert) == 1);
static_assert(static_cast<int>(SlotAction::kIdentity) == 2);

// Places per expert, as int32: [1] for chunks, else by the number of rows 0..max_rows.
std::vector<int32_t> CapacityTable(const GateConfig& config, int64_t max_rows) {
  std::vector<int32_t> table;
  if (!config.CanDrop()) return table;
  const auto add = [&](int64_t tokens) {
    const int64_t most = std::numeric_limits<int32_t>::max();
    table.push_back(static_cast<int32_t>(std::min(*config.Capacity(tokens), most)));
  };
  if (config.NeedsChunkCounters()) {
    add(config.group_size);
  } else {
    for (int64_t tokens = 0; tokens <= max_rows; ++tokens) add(tokens);
  }
  return table;
}

// Several vectors of 4-byte elements one after another.
class VectorPacker {
 public:
  template <typename T>
  void Add(const std::vector<T>& values) {
    static_assert(sizeof(T) == 4);
    const size_t at = words_.size();
    begins_.push_back(values.empty() ? -1 : static_cast<int64_t>(at));
    words_.resize(at + values.size());
    if (!values.empty()) std::memcpy(words_.data() + at, values.data(), values.size() * sizeof(T));
  }
  absl::StatusOr<cuda::Memory> Upload(cuda::Stream& stream) const {
    const auto bytes = static_cast<int64_t>(words_.size() * sizeof(uint32_t));
    if (bytes == 0) return cuda::Memory();
    FM_ASSIGN_OR_RETURN(cuda::Memory memory, cuda::Memory::Allocate(bytes, "a gate's vectors"));
    cuda::CopyToDevice(stream, memory.data(), words_.data(), bytes);
    FM_RETURN_IF_ERROR(stream.Synchronize());
    return memory;
  }
  // The i-th vector in `memory`; null if it was empty.
  template <typename T>
  const T* At(const cuda::Memory& memory, size_t i) const {
    return begins_[i] < 0 ? nullptr : memory.As<T>() + begins_[i];
  }

 private:
  std::vector<uint32_t> words_;
  std::vector<int64_t> begins_;
};

}  // namespace

std::string WhyNotOnDevice(const GateConfig& config, int ranks, int64_t vocabulary) {
  if (config.num_experts > cuda::kMaxRoutedExperts) {
    return fmt::format("num_experts={} is above {}", config.num_experts, cuda::kMaxRoutedExperts);
  }
  if (config.top_k > cuda::kMaxRoutedChoices) {
    return fmt::format("top_k={} is above {}", config.top_k, cuda::kMaxRoutedChoices);
  }
  if (config.n_group > cuda::kMaxExpertGroups) {
    return fmt::format("n_group={} is above {}", config.n_group, cuda::kMaxExpertGroups);
  }
  if (config.weight_from == WeightFrom::kSparseMixer) {
    return "weight_from=sparse_mixer has no kernel";
  }
  if (config.shared_sinks > 0) return "shared_sinks has no kernel";
  if (config.zero_output == ZeroOutput::kNothing) return "zero_output=nothing has no kernel";
  if (config.selection == Selection::kTokenTable) {
    const auto ids = static_cast<int64_t>(config.token_table.size()) / config.top_k;
    if (ids < vocabulary) {
      return fmt::format("token_table has {} rows for {} token ids", ids, vocabulary);
    }
  }
  switch (config.priority) {
    case Priority::kSlotMajor:
    case Priority::kTokenMajor:
      break;
    case Priority::kBatchPrioritized:
      return "priority=batch_prioritized sorts the tokens of a group";
    case Priority::kWeightDesc:
      return "priority=weight_desc sorts the choices of a group";
    case Priority::kRandom:
      return "priority=random sorts the choices of a group";
  }
  if (!config.CanDrop()) return "";
  if (config.overflow == Overflow::kReroute) {
    return "overflow=reroute places one choice after another";
  }
  if (config.group == CapacityGroup::kStep && ranks > 1) {
    return fmt::format("group=step shares places among the tokens of {} ranks", ranks);
  }
  return "";
}

absl::StatusOr<DeviceGate> DeviceGate::Create(cuda::Stream& stream, const GateConfig& config,
                                              int64_t max_rows) {
  VectorPacker packer;
  packer.Add(config.router_bias);
  packer.Add(config.selection_bias);
  packer.Add(config.token_table);
  packer.Add(CapacityTable(config, max_rows));
  DeviceGate gate;
  FM_ASSIGN_OR_RETURN(gate.vectors_, packer.Upload(stream));

  cuda::RoutingParams& params = gate.params_;
  params.experts = config.num_experts;
  params.k = config.top_k;
  params.round_to_bf16 = config.router_dtype == RouterDtype::kBf16;
  params.router_bias = packer.At<float>(gate.vectors_, 0);
  params.score_fn = static_cast<uint8_t>(config.score_fn);
  params.select_on_logit = config.select_on == SelectOn::kLogit;
  params.selection_bias = packer.At<float>(gate.vectors_, 1);
  params.token_table = packer.At<int32_t>(gate.vectors_, 2);
  params.token_ids = static_cast<int>(config.token_table.size()) / config.top_k;
  params.groups = config.n_group;
  params.kept_groups = config.topk_group;
  params.group_score = static_cast<uint8_t>(config.group_score);
  params.group_fill = config.group_fill;
  params.softmax_selected = config.weight_from == WeightFrom::kSoftmaxSelected;
  params.normalize = static_cast<uint8_t>(config.normalize);
  params.clamp_eps = config.norm_eps_mode == NormEpsMode::kClamp;
  params.norm_eps = config.norm_eps;
  params.extra_policy = static_cast<uint8_t>(config.extra_policy);
  params.extra_raw = config.extra_gate == ExtraGate::kRaw;
  params.extra_threshold = config.extra_threshold;
  params.rejected_consumes = config.rejected_consumes;
  params.capacity = packer.At<int32_t>(gate.vectors_, 3);
  params.capacity_of_chunk = config.NeedsChunkCounters();
  params.chunk_size = static_cast<int>(config.group_size);
  params.slot_major = config.priority != Priority::kTokenMajor;
  params.passthrough = config.overflow == Overflow::kPassthrough;
  params.scale = config.scale;
  params.zero_experts = config.zero_experts;
  params.seed = config.seed;
  return gate;
}

cuda::RoutingParams DeviceGate::Params(int layer) const {
  cuda::RoutingParams params = params_;
  params.layer = layer;
  return params;
}

}  // namespace folkmoot
