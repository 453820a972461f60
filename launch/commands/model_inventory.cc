// SPDX-License-Identifier: Apache-2.0
// ExpectedTensors writes down what a model will ask for; TakeInventory compares and adds up.
#include "launch/commands/model_inventory.h"

#include <fmt/ranges.h>

#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "layers/models/family.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

// Over all layers; the largest published models have some 25,000 experts.
constexpr int64_t kMaxExperts = 100'000;

// Sums of sizes that a config.json claims must not overflow, however absurd it is.
int64_t SaturatingProduct(const std::vector<int64_t>& factors) {
  int64_t product = 1;
  for (const int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) {
      return std::numeric_limits<int64_t>::max();
    }
  }
  return product;
}

void SaturatingAdd(int64_t& sum, int64_t value) {
  if (__builtin_add_overflow(sum, value, &sum)) sum = std::numeric_limits<int64_t>::max();
}

// The tensors that hold this one as codes, if that is how it is stored.
std::vector<std::string> PartsOf(const ModelConfig& config, const Checkpoint& checkpoint,
                                 const std::string& name) {
  if (config.weight_format == nullptr) return {};
  return config.weight_format->Parts(checkpoint, name);
}

// Adds the tensors of one layer after the other.
class Lister {
 public:
  Lister(const ModelConfig& config, const Checkpoint* checkpoint)
      : config_(config), checkpoint_(checkpoint), family_(FindFamily(config.architecture)) {}

  std::vector<ExpectedTensor> List() {
    Add("model.embed_tokens.weight", {config_.vocab, config_.hidden});
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      const std::string prefix = fmt::format("model.layers.{}.", i);
      AddAttention(prefix);
      if (config_.layers[i].moe) {
        AddMoe(prefix);
      } else {
        AddFfn(prefix + "mlp.", config_.intermediate, config_.mlp_bias);
      }
    }
    Add("model.norm.weight", {config_.hidden});
    if (!config_.tied_embeddings) Add("lm_head.weight", {config_.vocab, config_.hidden});
    return std::move(tensors_);
  }

 private:
  bool Has(const std::string& name) const {
    if (checkpoint_ == nullptr) return false;
    return checkpoint_->Find(name) != nullptr || !PartsOf(config_, *checkpoint_, name).empty();
  }

  void Add(std::string name, std::vector<int64_t> shape, int expert = ExpectedTensor::kNoExpert) {
    tensors_.push_back({std::move(name), std::move(shape), expert});
  }

  void AddLinear(const std::string& name, int64_t out, int64_t in, bool bias) {
    Add(name + ".weight", {out, in});
    if (bias) Add(name + ".bias", {out});
  }

  void AddAttention(const std::string& prefix) {
    const std::string name = prefix + "self_attn.";
    const int64_t q = config_.heads * config_.head_dim;
    const int64_t kv = config_.kv_heads * config_.head_dim;
    Add(prefix + "input_layernorm.weight", {config_.hidden});
    AddLinear(name + "q_proj", q, config_.hidden, config_.qkv_bias);
    AddLinear(name + "k_proj", kv, config_.hidden, config_.qkv_bias);
    AddLinear(name + "v_proj", kv, config_.hidden, config_.qkv_bias);
    AddLinear(name + "o_proj", config_.hidden, q, config_.output_bias);
    if (config_.qk_norm != QkNormKind::kNone) {
      const bool rows = config_.qk_norm == QkNormKind::kRows;
      Add(name + "q_norm.weight", {rows ? q : config_.head_dim});
      Add(name + "k_norm.weight", {rows ? kv : config_.head_dim});
    }
    Add(prefix + "post_attention_layernorm.weight", {config_.hidden});
  }

  void AddFfn(const std::string& prefix, int64_t intermediate, bool bias) {
    AddLinear(prefix + "gate_proj", intermediate, config_.hidden, bias);
    AddLinear(prefix + "up_proj", intermediate, config_.hidden, bias);
    AddLinear(prefix + "down_proj", config_.hidden, intermediate, bias);
  }

  void AddMatrix(const TensorRef& ref, int expert = ExpectedTensor::kNoExpert) {
    if (!tensors_.empty() && tensors_.back().name == ref.name) return;  // gate and up in one
    if (ref.slices > 0) {
      Add(ref.name, {ref.slices, ref.rows(), ref.k}, ExpectedTensor::kAllExperts);
    } else {
      Add(ref.name, {ref.rows(), ref.k}, expert);
    }
  }

  void AddMatrices(const GatedFfnTensors& ffn, int expert = ExpectedTensor::kNoExpert) {
    for (const TensorRef* ref : {&ffn.gate, &ffn.up, &ffn.down}) AddMatrix(*ref, expert);
  }

  void AddMoe(const std::string& layer) {
    const MoeConfig& moe = config_.moe;
    const MoeNames names = MoeNamesOf(
        *family_, [&](const std::string& name) { return Has(name); }, layer);
    Add(names.router, {moe.experts, config_.hidden});
    const auto experts = static_cast<int>(moe.experts);
    const bool packed = (names.experts.always_packed && checkpoint_ != nullptr) ||
                        Has(names.experts.packed_gate_up);
    for (int e = 0; e < (packed ? 1 : experts); ++e) {
      AddMatrices(
          TensorsOfExpert(names.experts, packed, e, experts, config_.hidden, moe.intermediate), e);
    }
    if (moe.shared_intermediate == 0) return;
    AddMatrices(TensorsOfShared(names, config_.hidden, moe.shared_intermediate));
    if (!names.shared_gate.empty()) Add(names.shared_gate, {1, config_.hidden});
  }

  const ModelConfig& config_;
  const Checkpoint* checkpoint_;
  const Family* family_;
  std::vector<ExpectedTensor> tensors_;
};

// Tensors that are in some checkpoints and change nothing: frequencies are recomputed, and a tied
// head is the embedding.
bool MayBeThere(const ModelConfig& config, std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (config.tied_embeddings && name == "lm_head.weight");
}

void CountBytes(const ExpectedTensor& tensor, int64_t bytes, ModelInventory& inventory) {
  if (tensor.expert == ExpectedTensor::kNoExpert) {
    SaturatingAdd(inventory.dense_bytes, bytes);
  } else if (tensor.expert == ExpectedTensor::kAllExperts) {
    const auto experts = static_cast<int64_t>(inventory.expert_bytes.size());
    for (int64_t& share : inventory.expert_bytes) SaturatingAdd(share, bytes / experts);
  } else {
    SaturatingAdd(inventory.expert_bytes[static_cast<size_t>(tensor.expert)], bytes);
  }
}

void CountDType(std::string_view type, int64_t bytes, ModelInventory& inventory) {
  DTypeShare& share = inventory.dtypes[std::string(type)];
  share.tensors += 1;
  SaturatingAdd(share.bytes, bytes);
}

// Without a checkpoint every tensor is taken to be of the dtype that config.json names.
// `names` gets those that the checkpoint has in its place.
void CompareTensor(const ModelConfig& config, const ExpectedTensor& tensor,
                   const Checkpoint* checkpoint, ModelInventory& inventory,
                   std::set<std::string, std::less<>>& names) {
  if (checkpoint == nullptr) {
    std::vector<int64_t> factors = tensor.shape;
    factors.push_back(DTypeBytes(config.dtype));
    const int64_t bytes = SaturatingProduct(factors);
    CountBytes(tensor, bytes, inventory);
    CountDType(DTypeName(config.dtype), bytes, inventory);
    SaturatingAdd(inventory.bytes, bytes);
    return;
  }
  const std::vector<std::string> parts = PartsOf(config, *checkpoint, tensor.name);
  if (!parts.empty()) {
    for (const std::string& part : parts) {
      CountBytes(tensor, checkpoint->Find(part)->bytes, inventory);
      names.insert(part);
    }
    return;
  }
  const TensorInfo* info = checkpoint->Find(tensor.name);
  if (info == nullptr) {
    inventory.missing.push_back(tensor.name);
    return;
  }
  if (info->shape != tensor.shape) {
    inventory.wrong_shape.push_back(fmt::format("{}: [{}] instead of [{}]", tensor.name,
                                                fmt::join(info->shape, ", "),
                                                fmt::join(tensor.shape, ", ")));
  }
  CountBytes(tensor, info->bytes, inventory);
}

}  // namespace

absl::StatusOr<std::vector<ExpectedTensor>> ExpectedTensors(const ModelConfig& config,
                                                            const Checkpoint* checkpoint) {
  const int64_t experts = config.moe.experts * static_cast<int64_t>(config.layers.size());
  if (experts > kMaxExperts) {
    return InvalidArgument("config.json asks for {} experts over all layers; the limit is {}",
                           experts, kMaxExperts);
  }
  return Lister(config, checkpoint).List();
}

absl::StatusOr<ModelInventory> TakeInventory(const ModelConfig& config,
                                             const Checkpoint* checkpoint) {
  FM_ASSIGN_OR_RETURN(const auto expected, ExpectedTensors(config, checkpoint));
  ModelInventory inventory;
  inventory.expert_bytes.resize(static_cast<size_t>(config.moe.experts));
  int64_t dense_parameters = 0;
  std::set<std::string, std::less<>> names;
  for (const ExpectedTensor& tensor : expected) {
    const bool routed = tensor.expert != ExpectedTensor::kNoExpert;
    SaturatingAdd(routed ? inventory.expert_parameters : dense_parameters,
                  SaturatingProduct(tensor.shape));
    CompareTensor(config, tensor, checkpoint, inventory, names);
    names.insert(tensor.name);
  }
  inventory.parameters = dense_parameters;
  SaturatingAdd(inventory.parameters, inventory.expert_parameters);
  inventory.active_parameters = dense_parameters;
  if (config.moe.experts > 0) {
    SaturatingAdd(inventory.active_parameters,
                  inventory.expert_parameters / config.moe.experts * config.moe.top_k);
  }
  inventory.kv_bytes_per_token =
      SaturatingProduct({static_cast<int64_t>(config.layers.size()), 2, config.kv_heads,
                         config.head_dim, static_cast<int64_t>(sizeof(float))});
  if (checkpoint == nullptr) return inventory;
  inventory.bytes = checkpoint->total_bytes();
  for (const std::string_view name : checkpoint->Names()) {
    const TensorInfo* info = checkpoint->Find(name);
    CountDType(info->type_name(), info->bytes, inventory);
    if (!names.contains(name) && !MayBeThere(config, name)) inventory.unexpected.emplace_back(name);
  }
  return inventory;
}

int64_t ExpertBytesOfRank(const ModelInventory& inventory, const ExpertPlacement& placement,
                          int rank) {
  int64_t bytes = 0;
  for (const int expert : placement.experts_of(rank)) {
    SaturatingAdd(bytes, inventory.expert_bytes[static_cast<size_t>(expert)]);
  }
  return bytes;
}

}  // namespace folkmoot
