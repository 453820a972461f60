// SPDX-License-Identifier: Apache-2.0
// The directory of a supervised server: its sockets, and what its launcher leaves.
#pragma once

#include <string>

#include "launch/supervisor/frame_channel.h"
#include "runtime/status.h"

namespace folkmoot {

// Only this user may enter it; it goes with its owner. A file in it is locked while somebody lives
// there, so that what a killed server has left can be told from what another one uses.
class RunDirectory {
 public:
  // In TMPDIR, else /tmp, after removing what dead servers of this user have left there and in
  // /dev/shm.
  static absl::StatusOr<RunDirectory> Create();
  ~RunDirectory();
  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;

  const std::string& path() const { return path_; }

 private:
  RunDirectory() = default;
  std::string path_;
  FileDescriptor lock_;
};

void RemoveAll(const std::string& path);

}  // namespace folkmoot
