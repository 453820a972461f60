// SPDX-License-Identifier: Apache-2.0
// Writes one safetensors file whose tensors come piece by piece, in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/status.h"

namespace folkmoot {

struct NewTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;

  int64_t bytes() const;
};

// Any thread may call Write, for pieces that do not overlap.
class SafetensorsWriter {
 public:
  // Creates the file (it must not exist), writes the header and reserves the data. Tensors lie in
  // descending size of their elements, then by name, so that each is aligned.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, const std::vector<NewTensor>& tensors);
  ~SafetensorsWriter();  // closes; without Finish the file is not to be used
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // `bytes` at `offset` of a tensor. Errors name the file and the reason.
  absl::Status Write(const std::string& tensor, int64_t offset, std::span<const std::byte> bytes);
  // Brings the file to disk.
  absl::Status Finish();

 private:
  SafetensorsWriter(std::string path, int file) : path_(std::move(path)), file_(file) {}

  struct Place {
    int64_t begin = 0;
    int64_t bytes = 0;
  };
  std::string path_;
  int file_ = -1;
  std::map<std::string, Place> places_;
};

}  // namespace folkmoot
