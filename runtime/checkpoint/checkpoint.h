// SPDX-License-Identifier: Apache-2.0
// The tensors of a model: of a directory with model.safetensors, or with shards and
// model.safetensors.index.json, or of a GGUF file, under the names that the Hugging Face model has.
// Memory-mapped: only pages that are read cost memory, so a rank that reads its own experts holds
// only those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/quant/block_format.h"
#include "runtime/status.h"

namespace folkmoot {

// A tensor inside a mapped file. `data` lives as long as the Checkpoint, is aligned to its element
// size, and is not null unless the whole tensor is empty.
struct TensorInfo {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  int64_t bytes = 0;
  std::string_view file;  // for messages
  // Not null: quantised. Then `data` holds blocks of this format, and dtype says nothing.
  const BlockFormat* blocks = nullptr;
  RowOrder order = {};      // how its rows stand in `data`
  std::string stored_name;  // as the file calls it, where that differs: for messages

  std::string_view type_name() const { return blocks == nullptr ? DTypeName(dtype) : blocks->name; }
};

// Immutable after Open; any thread.
class Checkpoint {
 public:
  // Looks for model.safetensors, then for model.safetensors.index.json; a `model` that stands for a
  // GGUF file (FindGguf) is that. Validates every header before anything is read from the data:
  // lengths, bounds, overlaps, dtype sizes, duplicate names, and that an index names only files
  // inside the directory and tensors that exist.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& model);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const TensorInfo* Find(std::string_view name) const;  // nullptr: not there
  std::vector<std::string_view> Names() const;          // sorted
  int64_t total_bytes() const;                          // of all tensors

  // A 64-bit hash of file names, sizes and headers: ranks compare it before the first step.
  uint64_t Fingerprint() const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenGguf(const std::string& path);
  std::unique_ptr<Impl> impl_;
};

}  // namespace folkmoot
