// SPDX-License-Identifier: Apache-2.0
// The safetensors container: 8 bytes little-endian header length, a JSON header
// {name: {dtype, shape, data_offsets}}, then the data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/status.h"

namespace folkmoot {

// As the format's reference implementation limits it.
constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
};

struct SafetensorsFile {
  uint64_t header_bytes = 0;              // the length field included: data begins here
  std::vector<SafetensorsEntry> entries;  // in the order of their data
};

// `contents` is the whole file (only the header is read); `file` names it in errors. Refuses what
// the reference implementation refuses: a header that is not one JSON object, unknown dtypes,
// duplicate names, shapes that do not fit their bytes, data that overlaps, has holes, or ends
// before or after the file does.
absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view file,
                                                 std::span<const std::byte> contents);

}  // namespace folkmoot
