// SPDX-License-Identifier: Apache-2.0
// Writes a quantised copy of a model directory, tensor by tensor: memory for a few hundred rows is
// all that it needs, however large the model is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launch/commands/quantize_plan.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace folkmoot {

struct QuantizeReport {
  struct Part {
    int64_t tensors = 0;  // of the model: codes with their scales are one
    int64_t weights = 0;
    int64_t bytes_before = 0;
    int64_t bytes_after = 0;
  };
  Part encoded;
  Part plain;
  int64_t group = 0;
  int64_t files = 0;
  std::vector<std::string> odd_matrices;  // that stay plain because groups do not divide them
};

// The new directory appears under its name when it is whole; until then it is a hidden one beside
// it, which an error removes. Refuses an `out` that is there, a GGUF file, a model that is
// quantised already, and weights that are not finite, by tensor. `progress` gets bytes of the model
// read so far, of all. Files of at most `shard_bytes`, or one tensor.
absl::StatusOr<QuantizeReport> QuantizeModel(
    const QuantizeOptions& options, ThreadPool& pool,
    const std::function<void(int64_t done, int64_t total)>& progress,
    int64_t shard_bytes = int64_t{5} << 30);

}  // namespace folkmoot
