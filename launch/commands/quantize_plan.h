// SPDX-License-Identifier: Apache-2.0
// What `folkmoot quantize` makes of each tensor of a model, decided from shapes alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/commands/model_inventory.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/checkpoint/tensor_ref.h"
#include "runtime/model_config.h"
#include "runtime/quant/encode.h"
#include "runtime/status.h"

namespace folkmoot {

struct QuantizeOptions {
  std::string model;
  std::string out;
  EncodeType type = EncodeType::kInt4;
  int64_t group = 0;  // 0: chosen, see PlanQuantize
  bool head = false;  // the output head too
};

// A tensor or expert of the model on its way into the new one.
struct QuantizeItem {
  TensorRef from;
  std::string to;       // name of the weight
  bool encode = false;  // else it is copied as it is
  EncodeSpec spec;
  std::vector<NewTensor> tensors;  // what is written: codes and scales first
};

struct QuantizePlan {
  std::vector<QuantizeItem> items;          // in the order of the model
  std::vector<std::string> plain_matrices;  // modules that stay plain: routers, head, odd sizes
  std::vector<std::string> odd_matrices;    // of these, the ones that groups do not divide
  int64_t group = 0;
};

// Matrices of attention, feed-forward networks and experts become codes; embeddings, norms, biases,
// routers, gates of shared experts and, without `head`, the output head stay. Packed expert tensors
// become one matrix per expert, as readers of these formats want them.
//
// Without a group: 32 for int4 and mxfp4; for int8 and fp8 the largest of 128, 64 and 32 that
// divides every matrix, 32 when none does. Matrices that it does not divide (for fp8 rows and
// columns, else k) stay plain.
absl::StatusOr<QuantizePlan> PlanQuantize(const QuantizeOptions& options, const ModelConfig& config,
                                          const Checkpoint& checkpoint);

// The quantization_config of the new config.json.
nlohmann::ordered_json QuantizationConfig(const QuantizeOptions& options, const QuantizePlan& plan);

}  // namespace folkmoot
