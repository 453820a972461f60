// SPDX-License-Identifier: Apache-2.0
// What a model will ask its loader for, without loading anything: its layers run their Load with a
// loader that only writes down. So a family of models needs no list of its tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers/weight_loader.h"
#include "parallel/expert_placement.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

// A tensor, or the parts of one that are read one after the other.
struct ListedTensor {
  static constexpr int kNoExpert = -1;
  static constexpr int kAllExperts = -2;  // experts in one tensor

  std::string name;
  std::vector<int64_t> shape;  // of the whole tensor
  int64_t values = 0;          // that are read; 0 of tables, which are read in place
  bool matrix = false;         // of a product, whose values may be codes
  bool exact = false;          // TensorRef::exact
  int expert = kNoExpert;
};

// Which part of a model a rank reads: its experts, or, as one of `ranks` that share every matrix,
// its columns.
struct ListedPart {
  const ExpertPlacement* placement = nullptr;  // null: all experts
  int expert_rank = 0;
  int rank = 0;
  int ranks = 1;
};

// In the order of loading. `stored` says how the checkpoint lays experts out; null: one tensor for
// each. Fails when config.json asks for more than any checkpoint holds.
absl::StatusOr<std::vector<ListedTensor>> ListTensors(const ModelConfig& config,
                                                      const WeightLoader* stored,
                                                      const ListedPart& part = {});

// Of the matrices that this part of a model is packed from.
absl::StatusOr<int64_t> WeightsToLoad(const ModelConfig& config, const ListedPart& part = {});

// The same of each of `ranks` that share every matrix, without listing what is alike again.
absl::StatusOr<std::vector<int64_t>> WeightsOfRanks(const ModelConfig& config, int ranks);

}  // namespace folkmoot
