// SPDX-License-Identifier: Apache-2.0
#include "runtime/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace folkmoot {
namespace {

absl::StatusOr<std::string> ReadAll(int file, const std::string& path, FaultPoint point) {
  constexpr size_t kPiece = size_t{1} << 16;
  std::string text;
  while (true) {
    const size_t before = text.size();
    text.resize(before + kPiece);
    const ssize_t got = read(file, text.data() + before, kPiece);
    if (got < 0 && errno != EINTR) {
      return FailedPrecondition("{}: cannot be read at byte {}: {}", path, before,
                                std::strerror(errno));
    }
    text.resize(before + static_cast<size_t>(got < 0 ? 0 : got));
    if (got == 0) break;
  }
  size_t size = text.size();
  if (FaultAt(point, &size)) {
    return FailedPrecondition("{}: cannot be read at byte {}: {}", path, 0, std::strerror(errno));
  }
  text.resize(size);
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, FaultPoint point) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    const int error = errno;
    const bool missing = error == ENOENT || error == ENOTDIR;
    const std::string what = fmt::format("{}: cannot be read: {}", path, std::strerror(error));
    return missing ? NotFound("{}", what) : FailedPrecondition("{}", what);
  }
  absl::StatusOr<std::string> text = ReadAll(file, path, point);
  close(file);
  return text;
}

absl::StatusOr<std::optional<std::string>> ReadFileIfThere(const std::string& path,
                                                           FaultPoint point) {
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) return std::optional<std::string>();
  FM_ASSIGN_OR_RETURN(std::string text, ReadFile(path, point));
  return std::optional<std::string>(std::move(text));
}

}  // namespace folkmoot
