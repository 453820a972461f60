// SPDX-License-Identifier: Apache-2.0
// The tensors of a model directory: model.safetensors, or shards with model.safetensors.index.json.
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
};

// Immutable after Open; any thread.
class Checkpoint {
 public:
  // Looks for model.safetensors, then for model.safetensors.index.json. Validates every header
  // before anything is read from the data: lengths, bounds, overlaps, dtype sizes, duplicate names,
  // and that an index names only files inside the directory and tensors that exist.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& directory);
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
  std::unique_ptr<Impl> impl_;
};

}  // namespace folkmoot
