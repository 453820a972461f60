// SPDX-License-Identifier: Apache-2.0
// Files of frames: eight bytes of hash, four of length, then the frame. A frame that was cut off or
// damaged ends what can be read of its file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace folkmoot {

// The frames of a file, as far as they are whole.
absl::StatusOr<std::vector<std::string>> ReadFrames(const std::string& path);
// The same of its bytes.
std::vector<std::string> FramesOf(std::string_view bytes);
// A frame as it is written.
std::string Framed(std::string_view frame);

// A file that is appended to.
class FrameWriter {
 public:
  // A new file, for this user alone; errors name it.
  static absl::StatusOr<FrameWriter> Create(const std::string& path);
  ~FrameWriter();
  FrameWriter(FrameWriter&& other) noexcept;
  FrameWriter& operator=(FrameWriter&& other) noexcept;

  // All of it, or an error that names the file. `sync`: it survives the machine, not only the
  // process.
  absl::Status Append(std::string_view frame, bool sync);
  int64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  FrameWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
  int64_t bytes_ = 0;
};

}  // namespace folkmoot
