// SPDX-License-Identifier: Apache-2.0
// From the tensors of a GGUF file to those of the Hugging Face model it was made from: names,
// shapes, and the order of rows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/gguf_model.h"
#include "runtime/quant/block_format.h"
#include "runtime/status.h"

namespace folkmoot {

// What "general.architecture" may be.
struct GgufFamily {
  std::string_view architecture;  // "llama"
  std::string_view dense;         // as Hugging Face names it; empty: there is no such model
  std::string_view moe;           // with experts
  bool interleaved = false;       // rows of q and k stand in rotary pairs
  bool one_width = false;         // experts are as wide as feed_forward_length says
  bool normalised = true;         // weights of chosen experts add up to 1, where no key says it
  bool row_norms = false;         // q and k are normalised over all heads
};

// Error: an architecture that is not supported, by name.
absl::StatusOr<const GgufFamily*> FamilyOf(const GgufModel& model);

// Keys of the architecture begin with its name: "llama.block_count".
std::string GgufKey(const GgufModel& model, std::string_view key);
// The width of a head.
absl::StatusOr<int64_t> GgufHeadDim(const GgufModel& model);
// 0: a dense model.
absl::StatusOr<int64_t> GgufExperts(const GgufModel& model);

// A tensor under its Hugging Face name. Of packed experts there is one for each.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
  RowOrder order;
  const GgufTensor* source = nullptr;
};

// All weights of the model. Tensors that only say what the configuration says too (rope_freqs) are
// left out; others that no supported model has are refused by name.
absl::StatusOr<std::vector<NamedTensor>> NameTensors(const GgufModel& model);

}  // namespace folkmoot
