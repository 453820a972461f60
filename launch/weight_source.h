// SPDX-License-Identifier: Apache-2.0
// Where the weights of a model come from: a checkpoint, a packed file, or a seed. The large model
// and a draft model are opened, compared between ranks and loaded by the same code.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launch/agreement.h"
#include "layers/weight_loader.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/panel_file.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// What quantised weights take as they are stored.
struct StoredCodes {
  std::string type;             // of most bytes: "Q4_K"
  double bytes_per_weight = 0;  // of all matrices, plain ones among them
  bool integers = true;         // products are made of integers: not so with FP8
};

class WeightSource {
 public:
  // Reads no weights. With `dummy_seed` there are no files.
  static absl::StatusOr<WeightSource> Open(const std::string& model,
                                           std::optional<uint64_t> dummy_seed);

  // For the CPU only, and neither dtype nor rounding of WeightOptions can change it.
  bool packed() const { return panels_ != nullptr; }
  // The file, for messages.
  const std::string& path() const { return packed() ? panels_->path() : model_; }
  int64_t total_bytes() const { return checkpoint_ == nullptr ? 0 : checkpoint_->total_bytes(); }

  // The source must outlive the loader and the model.
  std::unique_ptr<WeightLoader> MakeLoader(const ModelConfig& config,
                                           const WeightOptions& options) const;
  // nullopt: plain weights, or dummy ones.
  std::optional<StoredCodes> stored_codes(const ModelConfig& config) const;
  // What its files are, and a sample of what is in them; `whose` stands before the names.
  void AddFields(const std::string& whose, AgreementFields& fields) const;

 private:
  std::string model_;
  bool gguf_ = false;
  uint64_t seed_ = 0;
  std::unique_ptr<Checkpoint> checkpoint_;  // one of the two, or none
  std::unique_ptr<PanelFile> panels_;
};

}  // namespace folkmoot
