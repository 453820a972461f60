// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/journal_segment.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

namespace folkmoot {
namespace {

constexpr size_t kFrameHeader = 12;

void AppendNumber(uint64_t value, size_t bytes, std::string* out) {
  for (size_t i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t NumberAt(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

}  // namespace

std::string Framed(std::string_view frame) {
  std::string out;
  AppendNumber(XXH3_64bits(frame.data(), frame.size()), 8, &out);
  AppendNumber(frame.size(), 4, &out);
  out += frame;
  return out;
}

std::vector<std::string> FramesOf(std::string_view bytes) {
  std::vector<std::string> frames;
  while (bytes.size() >= kFrameHeader) {
    const uint64_t hash = NumberAt(bytes.substr(0, 8));
    const uint64_t length = NumberAt(bytes.substr(8, 4));
    if (length > bytes.size() - kFrameHeader) break;
    const std::string_view frame = bytes.substr(kFrameHeader, length);
    if (XXH3_64bits(frame.data(), frame.size()) != hash) break;
    frames.emplace_back(frame);
    bytes.remove_prefix(kFrameHeader + length);
  }
  return frames;
}

absl::StatusOr<std::vector<std::string>> ReadFrames(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("{}: {}", path, std::strerror(errno));
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return FramesOf(bytes);
}

absl::StatusOr<FrameWriter> FrameWriter::Create(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return Unavailable("{}: {}", path, std::strerror(errno));
  return FrameWriter(path, fd);
}

FrameWriter::FrameWriter(FrameWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

FrameWriter& FrameWriter::operator=(FrameWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

FrameWriter::~FrameWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status FrameWriter::Append(std::string_view frame, bool sync) {
  const std::string bytes = Framed(frame);
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t written = write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Unavailable("{}: {}", path_, std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(written));
  }
  bytes_ += static_cast<int64_t>(bytes.size());
  if (sync && fdatasync(fd_) != 0) return Unavailable("{}: {}", path_, std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace folkmoot
