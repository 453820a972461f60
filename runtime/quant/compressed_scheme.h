// SPDX-License-Identifier: Apache-2.0
// What the quantization_config of compressed-tensors says about weights. Internal to
// runtime/quant/.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/model_config_json.h"
#include "runtime/status.h"

namespace folkmoot {

struct CompressedScheme {
  enum class Layout : uint8_t { kPackedInts, kNaive, kFp4 };
  enum class Strategy : uint8_t { kTensor, kChannel, kGroup, kBlock };

  Layout layout = Layout::kPackedInts;
  bool floats = false;     // kNaive: FP8
  bool exponents = false;  // kNaive: MXFP8, scales are powers of two
  int64_t bits = 4;        // of integers
  bool symmetric = true;
  Strategy strategy = Strategy::kGroup;
  int64_t group_size = 0;     // kGroup
  int64_t block_rows = 0;     // kBlock
  int64_t block_columns = 0;  // kBlock
  bool global_scale = false;  // kFp4: NVFP4

  bool packed() const { return layout != Layout::kNaive; }
  bool operator==(const CompressedScheme&) const = default;
};

// Refuses by key: unknown formats and keys, sparsity, transforms, statuses other than compressed,
// and schemes that differ from group to group.
absl::StatusOr<CompressedScheme> ReadCompressedScheme(const ConfigReader& keys);

std::string Describe(const CompressedScheme& scheme);

}  // namespace folkmoot
