// SPDX-License-Identifier: Apache-2.0
// A file in memory, read-only. Pages are read from disk when they are touched.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/status.h"

namespace folkmoot {

// Owns the mapping. Movable; the bytes stay where they are.
class MappedFile {
 public:
  // Errors name the path. Symbolic links are followed; anything but a regular file is refused. An
  // empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  // A copy of `bytes` at the start of a page. Like a file's, its pages may be given back with
  // madvise(MADV_DONTNEED) and are still there when they are read again.
  static absl::StatusOr<MappedFile> Copy(std::span<const std::byte> bytes);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace folkmoot
