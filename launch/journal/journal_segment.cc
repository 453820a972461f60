// SPDX-License-Identifier: Apache-2.0
#include "launch/journal/journal_segment.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/file.h"

namespace folkmoot {
namespace {

static_assert(std::endian::native == std::endian::little, "files have numbers as memory has them");
#pragma pack(push, 4)
struct FrameHead {
  uint64_t hash = 0;
  uint32_t length = 0;
};
#pragma pack(pop)
static_assert(sizeof(FrameHead) == 12);

}  // namespace

std::string Framed(std::string_view frame) {
  const FrameHead head = {.hash = XXH3_64bits(frame.data(), frame.size()),
                          .length = static_cast<uint32_t>(frame.size())};
  std::string out(reinterpret_cast<const char*>(&head), sizeof(head));
  out += frame;
  return out;
}

std::vector<std::string> FramesOf(std::string_view bytes) {
  std::vector<std::string> frames;
  FrameHead head;
  while (bytes.size() >= sizeof(head)) {
    std::memcpy(&head, bytes.data(), sizeof(head));
    bytes.remove_prefix(sizeof(head));
    if (head.length > bytes.size()) break;
    const std::string_view frame = bytes.substr(0, head.length);
    if (XXH3_64bits(frame.data(), frame.size()) != head.hash) break;
    frames.emplace_back(frame);
    bytes.remove_prefix(head.length);
  }
  return frames;
}

absl::StatusOr<std::vector<std::string>> ReadFrames(const std::string& path) {
  FM_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, FaultPoint::kJournalRead));
  return FramesOf(bytes);
}

absl::StatusOr<FrameWriter> FrameWriter::Create(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC;
  const int fd = FaultAt(FaultPoint::kJournalOpen) ? -1 : open(path.c_str(), kFlags, 0600);
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
    const ssize_t written =
        FaultAt(FaultPoint::kJournalWrite) ? -1 : write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Unavailable("{}: {}", path_, std::strerror(errno));
    rest.remove_prefix(static_cast<size_t>(written));
  }
  bytes_ += static_cast<int64_t>(bytes.size());
  if (sync && (FaultAt(FaultPoint::kJournalSync) || fdatasync(fd_) != 0))
    return Unavailable("{}: {}", path_, std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace folkmoot
