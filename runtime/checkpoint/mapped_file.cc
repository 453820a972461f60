// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/fault_points.h"

namespace folkmoot {
namespace {

class Descriptor {
 public:
  // Non-blocking, so that a named pipe in place of a file is refused instead of waited for.
  explicit Descriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const Descriptor file(path);
  if (file.fd() < 0) {
    return NotFound("{}: cannot be opened: {}", path, std::strerror(errno));
  }
  struct stat status = {};
  if (fstat(file.fd(), &status) != 0) {
    return DataLoss("{}: its size cannot be read: {}", path, std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) return InvalidArgument("{}: is not a regular file", path);
  auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = FaultAt(FaultPoint::kWeightsMap, &size)
                   ? MAP_FAILED
                   : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("{}: {} bytes cannot be mapped: {}", path, size, std::strerror(errno));
  }
  return MappedFile(static_cast<const std::byte*>(data), size);
}

absl::StatusOr<MappedFile> MappedFile::Copy(std::span<const std::byte> bytes) {
  if (bytes.empty()) return MappedFile(nullptr, 0);
  // Shared, because private anonymous pages are zero after MADV_DONTNEED.
  void* data =
      FaultAt(FaultPoint::kPanelsAllocate)
          ? MAP_FAILED
          : mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("{} bytes of memory cannot be had: {}", bytes.size(),
                             std::strerror(errno));
  }
  std::memcpy(data, bytes.data(), bytes.size());
  return MappedFile(static_cast<const std::byte*>(data), bytes.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace folkmoot
