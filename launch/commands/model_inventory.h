// SPDX-License-Identifier: Apache-2.0
// What a model consists of: the tensors that its config.json asks for, compared with those that its
// checkpoint has, and what a rank would hold. Reads headers only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layers/models/tensor_list.h"
#include "parallel/expert_placement.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/model_config.h"
#include "runtime/status.h"

namespace folkmoot {

struct DTypeShare {
  int64_t tensors = 0;
  int64_t bytes = 0;
};

struct ModelInventory {
  std::vector<ListedTensor> tensors;  // that config.json asks for

  // By config.json; a tied head counts once. Active: all but the experts that a token does not
  // choose.
  int64_t parameters = 0;
  int64_t active_parameters = 0;
  int64_t expert_parameters = 0;  // of all routed experts

  // By the checkpoint, or, without one, by config.json's dtype.
  int64_t bytes = 0;
  int64_t dense_bytes = 0;            // what every rank holds
  std::vector<int64_t> expert_bytes;  // [experts], summed over layers
  std::map<std::string, DTypeShare> dtypes;
  int64_t kv_bytes_per_token = 0;  // keys and values of all layers in float32
  int64_t state_bytes = 0;         // recurrent state of a sequence; 0: the model has none

  int64_t unused_bytes = 0;  // of tensors that this model has and does not read (Family::unused)

  std::vector<std::string> missing;      // names
  std::vector<std::string> unexpected;   // names
  std::vector<std::string> wrong_shape;  // "name: [3, 4] instead of [4, 3]"
};

// `checkpoint` may be null: nothing is missing then.
absl::StatusOr<ModelInventory> TakeInventory(const ModelConfig& config,
                                             const Checkpoint* checkpoint);

// Bytes of the experts that `rank` holds.
int64_t ExpertBytesOfRank(const ModelInventory& inventory, const ExpertPlacement& placement,
                          int rank);

}  // namespace folkmoot
