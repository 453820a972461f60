// SPDX-License-Identifier: Apache-2.0
// Compares what a model will ask for (ListTensors) with what there is, and adds up.
#include "launch/commands/model_inventory.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "layers/models/family.h"
#include "layers/models/model.h"
#include "runtime/quant/weight_format.h"

namespace folkmoot {
namespace {

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

// Tensors that are in some checkpoints and change nothing: frequencies are recomputed, a tied head
// is the embedding, keys and values of layers that read those of others, scales of a cache in FP8,
// and Family::unused.
class Unused {
 public:
  explicit Unused(const ModelConfig& config)
      : config_(config), family_(*FindFamily(config.architecture)) {
    const Family& family = family_;
    if (config.tied_embeddings) tied_head_ = family.end_names().head + ".weight";
    for (const std::string_view prefix : family.unused) {
      for (size_t i = 0; i < kBehind; ++i) {
        prefixes_.push_back(fmt::format(fmt::runtime(prefix), config.layers.size() + i));
      }
    }
    for (size_t i = 0; i < config.layers.size(); ++i) {
      if (config.layers[i].kv_layer < 0) continue;
      const AttentionNames names =
          NamesOf(family, fmt::format("{}{}.", family.layers, i)).attention;
      for (const std::string& module : {names.k, names.v, names.k_norm}) {
        prefixes_.push_back(module + ".");
      }
    }
  }
  bool operator()(std::string_view name) const {
    return name.ends_with(".rotary_emb.inv_freq") || name == tied_head_ || IsOfCache(name) ||
           (family_.also_unused != nullptr && family_.also_unused(config_, name)) ||
           std::any_of(prefixes_.begin(), prefixes_.end(),
                       [name](const std::string& prefix) { return name.starts_with(prefix); });
  }

 private:
  bool IsOfCache(std::string_view name) const {
    return config_.weight_format != nullptr &&
           (name.ends_with(".k_scale") || name.ends_with(".v_scale"));
  }

  static constexpr size_t kBehind = 4;  // layers behind the last that files have at most
  const ModelConfig& config_;
  const Family& family_;
  std::string tied_head_;  // empty: it is not tied
  std::vector<std::string> prefixes_;
};

// Of the parameters of all experts those that one token runs through.
int64_t ActiveOfExperts(const ModelConfig& config, int64_t parameters) {
  int64_t layers = 0;
  int64_t chosen = 0;
  for (const LayerConfig& layer : config.layers) {
    if (!layer.moe || layer.again >= 0) continue;  // the latter has experts of another
    ++layers;
    chosen += config.top_k(layer);
  }
  if (layers == 0) return 0;
  return SaturatingProduct({parameters / (layers * config.moe.experts), chosen});
}

// A part of one, of which a token has a few rows, in whatever parts they stand.
bool IsNgramTable(const ModelConfig& config, const ListedTensor& tensor) {
  return config.ngram_layers() > 0 && tensor.matrix && tensor.values == 0 &&
         tensor.name != FindFamily(config.architecture)->end_names().embedding;
}

// Those of a tensor of no expert that one token runs through: all, but for attention whose experts
// are in one tensor [E, ..].
int64_t ActiveOfDense(const ModelConfig& config, const ListedTensor& tensor) {
  if (IsNgramTable(config, tensor)) return 0;
  const int64_t parameters = SaturatingProduct(tensor.shape);
  // A token has one row of it, and the table is not the output head, too.
  if (config.layer_inputs > 0 &&
      tensor.name == FindFamily(config.architecture)->end_names().input_embedding) {
    return parameters / config.layer_input_vocab;
  }
  if (config.attention_experts == 0 || tensor.shape.size() != 3) return parameters;
  return parameters / config.attention_experts * (config.heads / config.kv_heads);
}

void CountBytes(const ListedTensor& tensor, int64_t bytes, ModelInventory& inventory) {
  if (tensor.expert == ListedTensor::kNoExpert) {
    SaturatingAdd(inventory.dense_bytes, bytes);
  } else if (tensor.expert == ListedTensor::kAllExperts) {
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
void CompareTensor(const ModelConfig& config, const ListedTensor& tensor,
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
  if (!FitsShape(info->shape, tensor.shape)) {
    inventory.wrong_shape.push_back(fmt::format("{}: [{}] instead of [{}]", tensor.name,
                                                fmt::join(info->shape, ", "),
                                                fmt::join(tensor.shape, ", ")));
  }
  CountBytes(tensor, info->bytes, inventory);
}

}  // namespace

absl::StatusOr<ModelInventory> TakeInventory(const ModelConfig& config,
                                             const Checkpoint* checkpoint) {
  std::unique_ptr<WeightLoader> stored;
  if (checkpoint != nullptr) stored = MakeCheckpointLoader(*checkpoint, config.weight_format);
  ModelInventory inventory;
  FM_ASSIGN_OR_RETURN(inventory.tensors, ListTensors(config, stored.get()));
  inventory.expert_bytes.resize(static_cast<size_t>(config.moe.experts));
  int64_t dense_parameters = 0;
  int64_t active_parameters = 0;
  std::set<std::string, std::less<>> names;
  for (const ListedTensor& tensor : inventory.tensors) {
    const bool routed = tensor.expert != ListedTensor::kNoExpert;
    SaturatingAdd(routed ? inventory.expert_parameters : dense_parameters,
                  SaturatingProduct(tensor.shape));
    if (!routed) SaturatingAdd(active_parameters, ActiveOfDense(config, tensor));
    CompareTensor(config, tensor, checkpoint, inventory, names);
    names.insert(tensor.name);
  }
  inventory.parameters = dense_parameters;
  SaturatingAdd(inventory.parameters, inventory.expert_parameters);
  inventory.active_parameters = active_parameters;
  SaturatingAdd(inventory.active_parameters, config.ngram_layers() * config.ngrams.width);
  SaturatingAdd(inventory.active_parameters, ActiveOfExperts(config, inventory.expert_parameters));
  inventory.kv_bytes_per_token =
      SaturatingProduct({config.cache_numbers(), static_cast<int64_t>(sizeof(float))});
  inventory.state_bytes = StateBytesPerSequence(config);
  if (checkpoint == nullptr) return inventory;
  inventory.bytes = checkpoint->total_bytes();
  const Unused may_be_there(config);
  for (const std::string_view name : checkpoint->Names()) {
    const TensorInfo* info = checkpoint->Find(name);
    CountDType(info->type_name(), info->bytes, inventory);
    if (names.contains(name)) continue;
    SaturatingAdd(inventory.unused_bytes, info->bytes);
    if (!may_be_there(name)) inventory.unexpected.emplace_back(name);
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
