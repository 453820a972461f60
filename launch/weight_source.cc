// SPDX-License-Identifier: Apache-2.0
#include "launch/weight_source.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <span>

#include "absl/functional/function_ref.h"
#include "layers/models/model.h"
#include "layers/models/tensor_list.h"
#include "layers/panel_loader.h"
#include "runtime/checkpoint/gguf_model.h"

namespace folkmoot {
namespace {

std::string Hex(uint64_t value) { return fmt::format("{:016x}", value); }

std::string FileHash(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return Hex(XXH3_64bits(text.data(), text.size()));
}

// Tells apart weights of the same shapes, as of two trainings, without reading them: a hash of the
// first page of at most 64 of `count` tensors.
std::string SampleHash(size_t count,
                       absl::FunctionRef<std::span<const std::byte>(size_t index)> tensor) {
  constexpr size_t kSamples = 64;
  constexpr size_t kPage = 4096;
  const size_t stride = std::max<size_t>(1, (count + kSamples - 1) / kSamples);
  uint64_t hash = 0;
  for (size_t i = 0; i < count; i += stride) {
    const std::span<const std::byte> bytes = tensor(i);
    hash = XXH3_64bits_withSeed(bytes.data(), std::min(bytes.size(), kPage), hash);
  }
  return Hex(hash);
}

// Of a GGUF file, whose tensors say how they are stored.
std::optional<StoredCodes> CodesOfBlocks(const Checkpoint& checkpoint) {
  std::map<std::string_view, int64_t> bytes_of_type;  // quantised ones
  int64_t bytes = 0;
  int64_t weights = 0;
  for (const std::string_view name : checkpoint.Names()) {
    const TensorInfo& info = *checkpoint.Find(name);
    if (info.shape.size() < 2) continue;
    bytes += info.bytes;
    weights += std::accumulate(info.shape.begin(), info.shape.end(), int64_t{1}, std::multiplies());
    if (info.blocks != nullptr) bytes_of_type[info.blocks->name] += info.bytes;
  }
  if (bytes_of_type.empty()) return std::nullopt;
  const auto most =
      std::max_element(bytes_of_type.begin(), bytes_of_type.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return StoredCodes{std::string(most->first),
                     static_cast<double>(bytes) / static_cast<double>(weights)};
}

// Weights of the whole model, embeddings included.
int64_t AllWeights(const ModelConfig& config) {
  return WeightsToLoad(config).value_or(0) +
         (config.tied_embeddings ? 0 : config.vocab * config.hidden);
}

}  // namespace

absl::StatusOr<WeightSource> WeightSource::Open(const std::string& model,
                                                std::optional<uint64_t> dummy_seed) {
  WeightSource source;
  source.model_ = model;
  FM_ASSIGN_OR_RETURN(const std::optional<std::string> gguf, FindGguf(model));
  source.gguf_ = gguf.has_value();
  if (dummy_seed) {
    source.seed_ = *dummy_seed;
    return source;
  }
  const std::string panels = fmt::format("{}/{}", model, PanelFile::kName);
  std::error_code ignored;
  if (std::filesystem::exists(panels, ignored)) {
    FM_ASSIGN_OR_RETURN(source.panels_, PanelFile::Open(panels));
  } else {
    FM_ASSIGN_OR_RETURN(source.checkpoint_, Checkpoint::Open(model));
  }
  return source;
}

std::unique_ptr<WeightLoader> WeightSource::MakeLoader(const ModelConfig& config,
                                                       const WeightOptions& options) const {
  std::unique_ptr<WeightLoader> loader;
  if (panels_ != nullptr) {
    loader = MakePanelLoader(*panels_);
  } else if (checkpoint_ != nullptr) {
    loader = MakeCheckpointLoader(*checkpoint_, config.weight_format);
  } else {
    loader = MakeDummyLoader(seed_, options.dtype.value_or(config.dtype));
  }
  loader->set_options(options);
  return loader;
}

std::optional<StoredCodes> WeightSource::stored_codes(const ModelConfig& config) const {
  if (checkpoint_ == nullptr) return std::nullopt;
  if (gguf_) return CodesOfBlocks(*checkpoint_);
  if (config.weight_format == nullptr) return std::nullopt;
  return StoredCodes{.type = config.weight_format->description(),
                     .bytes_per_weight = static_cast<double>(total_bytes()) /
                                         static_cast<double>(AllWeights(config)),
                     .integers = !config.weight_format->floats()};
}

void WeightSource::AddFields(const std::string& whose, AgreementFields& fields) const {
  if (panels_ != nullptr) {
    const std::vector<PanelEntry>& entries = panels_->entries();
    fields.emplace_back(whose + "model files", Hex(panels_->Fingerprint()));
    fields.emplace_back(whose + "weights", SampleHash(entries.size(), [&](size_t i) {
                          return std::span(entries[i].data, static_cast<size_t>(entries[i].bytes));
                        }));
  } else if (checkpoint_ != nullptr) {
    const std::vector<std::string_view> names = checkpoint_->Names();
    fields.emplace_back(whose + "model files", Hex(checkpoint_->Fingerprint()));
    fields.emplace_back(whose + "weights", SampleHash(names.size(), [&](size_t i) {
                          const TensorInfo& info = *checkpoint_->Find(names[i]);
                          return std::span(info.data, static_cast<size_t>(info.bytes));
                        }));
  } else {
    fields.emplace_back(whose + "model files", fmt::format("dummy, seed {}", seed_));
  }
  // The configuration of a GGUF file is among its keys, which the fingerprint of the files covers.
  if (gguf_) return;
  fields.emplace_back(whose + "config.json", FileHash(model_ + "/config.json"));
  fields.emplace_back(whose + "hf_quant_config.json", FileHash(model_ + "/hf_quant_config.json"));
}

}  // namespace folkmoot
