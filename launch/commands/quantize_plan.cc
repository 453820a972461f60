// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/quantize_plan.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>

#include "launch/version.h"
#include "layers/experts.h"
#include "layers/models/family.h"
#include "runtime/quant/code_tensors.h"

namespace folkmoot {
namespace {

bool IsMatrixToEncode(const ListedTensor& tensor, const EndNames& ends, bool head) {
  if (tensor.shape.size() != 2 || !tensor.matrix || tensor.exact) return false;
  if (tensor.name == ends.head + ".weight") return head;
  return tensor.name != ends.embedding;
}

const OtherNames* OtherNamesOf(const Family& family, const Checkpoint& checkpoint) {
  for (const OtherNames& other : family.other_names) {
    if (checkpoint.Find(std::string(other.tensor)) != nullptr) return &other;
  }
  return nullptr;
}

bool Divides(EncodeType type, int64_t group, const TensorRef& matrix) {
  return matrix.k % group == 0 && (type != EncodeType::kFp8 || matrix.n % group == 0);
}

class Planner {
 public:
  Planner(const QuantizeOptions& options, const ModelConfig& config, const Checkpoint& checkpoint)
      : options_(options),
        config_(config),
        checkpoint_(checkpoint),
        family_(*FindFamily(config.architecture)),
        other_(OtherNamesOf(family_, checkpoint)),
        ends_(other_ != nullptr ? other_->end_names() : family_.end_names()) {}

  absl::StatusOr<QuantizePlan> Plan(std::span<const ListedTensor> tensors) {
    if (config_.moe.experts > 0 && MoeNamesOf("").experts.always_packed) {
      return InvalidArgument(
          "config.json: no reader of these formats knows experts of {} one by one, which they are "
          "stored as; --quantization rounds them while loading",
          config_.architecture);
    }
    std::set<std::string_view> known;
    for (const ListedTensor& tensor : tensors) {
      known.insert(tensor.name);
      Add(tensor);
    }
    for (const std::string_view name : checkpoint_.Names()) {
      if (!known.contains(name)) AddCopy(std::string(name), std::string(name));
    }
    // A tied head has no tensor, but is a module that others would look for.
    if (config_.tied_embeddings) plan_.plain_matrices.push_back(ends_.head);
    plan_.group = Group();
    for (QuantizeItem& item : plan_.items) Settle(item);
    return std::move(plan_);
  }

 private:
  void Add(const ListedTensor& tensor) {
    if (tensor.expert == ListedTensor::kAllExperts) {
      AddPacked(tensor);
    } else if (IsMatrixToEncode(tensor, ends_, options_.head)) {
      plan_.items.push_back(
          {.from = {.name = tensor.name, .n = tensor.shape[0], .k = tensor.shape[1]},
           .to = tensor.name,
           .encode = true});
    } else {
      AddCopy(tensor.name, NameOfRouter(tensor.name));
    }
  }

  void AddCopy(const std::string& from, const std::string& to) {
    const TensorInfo* info = checkpoint_.Find(from);
    QuantizeItem item = {.from = {.name = from},
                         .to = to,
                         .tensors = {{.name = to, .dtype = info->dtype, .shape = info->shape}}};
    const bool floats =
        info->dtype == DType::kF32 || info->dtype == DType::kBF16 || info->dtype == DType::kF16;
    if (info->shape.size() == 2 && floats) {
      item.from.n = info->shape[0];
      item.from.k = info->shape[1];
    }
    plan_.items.push_back(std::move(item));
    const std::optional<std::string> module = ModuleOf(to);
    if (module && info->shape.size() == 2 && from != ends_.embedding) {
      plan_.plain_matrices.push_back(*module);
    }
  }

  // Gate and up come with the first of the two packed tensors, down with the second.
  void AddPacked(const ListedTensor& tensor) {
    const MoeNames names = MoeNamesOf(tensor.name);
    for (int e = 0; e < static_cast<int>(config_.moe.experts); ++e) {
      const auto experts = static_cast<int>(config_.moe.experts);
      const GatedFfnTensors from =
          TensorsOfExpert(names.experts, ExpertLayout::kPacked, e, experts, config_.expert_width(),
                          config_.moe.intermediate);
      const GatedFfnTensors to = TensorsOfExpert(names.experts, ExpertLayout::kOneByOne, e, experts,
                                                 config_.expert_width(), config_.moe.intermediate);
      if (tensor.name == names.experts.packed_gate_up) {
        plan_.items.push_back({.from = from.gate, .to = to.gate.name, .encode = true});
        plan_.items.push_back({.from = from.up, .to = to.up.name, .encode = true});
      } else {
        plan_.items.push_back({.from = from.down, .to = to.down.name, .encode = true});
      }
    }
  }

  MoeNames MoeNamesOf(const std::string& name) const {
    const std::string_view layers = other_ != nullptr ? other_->layers : family_.layers;
    const std::string prefix = name.substr(0, name.find('.', layers.size()) + 1);
    return other_ != nullptr ? other_->layer_names(prefix).moe : NamesOf(family_, prefix).moe;
  }

  // A family's own name for its router, which packed files do without.
  std::string NameOfRouter(const std::string& name) const {
    if (config_.moe.experts == 0 || !name.ends_with(".mlp.gate.weight")) return name;
    return MoeNamesOf(name).router;
  }

  int64_t Group() const {
    if (options_.group > 0) return options_.group;
    if (options_.type == EncodeType::kInt4 || options_.type == EncodeType::kMxfp4) return 32;
    for (const int64_t group : {128, 64}) {
      const bool all =
          std::all_of(plan_.items.begin(), plan_.items.end(), [&](const QuantizeItem& item) {
            return !item.encode || Divides(options_.type, group, item.from);
          });
      if (all) return group;
    }
    return 32;
  }

  // Whether a matrix is encoded after all, and what it becomes.
  void Settle(QuantizeItem& item) {
    if (!item.encode) return;
    const TensorRef& from = item.from;
    const DType stored = checkpoint_.Find(from.name)->dtype;
    if (!Divides(options_.type, plan_.group, from)) {
      item.encode = false;
      item.tensors = {{.name = item.to, .dtype = stored, .shape = {from.n, from.k}}};
      plan_.plain_matrices.push_back(*ModuleOf(item.to));
      plan_.odd_matrices.push_back(*ModuleOf(item.to));
      return;
    }
    item.spec = {.type = options_.type, .group = plan_.group, .scale_type = stored};
    const std::string module = *ModuleOf(item.to);
    const int64_t groups = from.k / plan_.group;
    if (options_.type == EncodeType::kFp8) {
      item.tensors = {{item.to, DType::kF8E4M3, {from.n, from.k}},
                      {item.to + "_scale_inv", DType::kF32, {from.n / plan_.group, groups}}};
    } else if (options_.type == EncodeType::kMxfp4) {
      item.tensors = {{module + ".weight_packed", DType::kU8, {from.n, from.k / 2}},
                      {module + ".weight_scale", DType::kU8, {from.n, groups}}};
    } else {
      item.tensors = {
          {module + ".weight_packed", DType::kI32, {from.n, item.spec.CodeBytes(from.k) / 4}},
          {module + ".weight_scale", stored, {from.n, groups}},
          {module + ".weight_shape", DType::kI64, {2}}};
    }
  }

  const QuantizeOptions& options_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  const Family& family_;
  const OtherNames* other_;  // null: the checkpoint has the family's own
  const EndNames ends_;
  QuantizePlan plan_;
};

}  // namespace

absl::StatusOr<QuantizePlan> PlanQuantize(const QuantizeOptions& options, const ModelConfig& config,
                                          const Checkpoint& checkpoint) {
  FM_ASSIGN_OR_RETURN(const ModelInventory inventory, TakeInventory(config, &checkpoint));
  for (const auto* wrong : {&inventory.missing, &inventory.wrong_shape}) {
    if (wrong->empty()) continue;
    return FailedPrecondition("{}: the model is not whole: {} (folkmoot inspect lists all)",
                              options.model, wrong->front());
  }
  if (options.head && config.tied_embeddings) {
    return InvalidArgument("--head: the head of {} is its embedding table, which stays plain",
                           options.model);
  }
  return Planner(options, config, checkpoint).Plan(inventory.tensors);
}

nlohmann::ordered_json QuantizationConfig(const QuantizeOptions& options,
                                          const QuantizePlan& plan) {
  nlohmann::ordered_json json;
  if (options.type == EncodeType::kFp8) {
    json["quant_method"] = "fp8";
    json["fmt"] = "e4m3";
    json["activation_scheme"] = "dynamic";
    json["weight_block_size"] = {plan.group, plan.group};
    json["modules_to_not_convert"] = plan.plain_matrices;
    return json;
  }
  const bool floats = options.type == EncodeType::kMxfp4;
  const char* format = floats ? "mxfp4-pack-quantized" : "pack-quantized";
  nlohmann::ordered_json weights = {{"num_bits", options.type == EncodeType::kInt8 ? 8 : 4},
                                    {"type", floats ? "float" : "int"},
                                    {"symmetric", true},
                                    {"strategy", "group"},
                                    {"group_size", plan.group},
                                    {"dynamic", false}};
  json["quant_method"] = "compressed-tensors";
  json["format"] = format;
  json["quantization_status"] = "compressed";
  json["config_groups"]["group_0"] = {{"targets", {"Linear"}},
                                      {"weights", std::move(weights)},
                                      {"input_activations", nullptr},
                                      {"output_activations", nullptr},
                                      {"format", format}};
  json["ignore"] = plan.plain_matrices;
  json["kv_cache_scheme"] = nullptr;
  return json;
}

}  // namespace folkmoot
