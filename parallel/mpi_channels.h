// SPDX-License-Identifier: Apache-2.0
// The MPI communicators of a job, all made at its start, while everybody lives: a pair for the
// group that it begins with, and one for each group that may follow when spare processes replace
// dead ranks. Whoever goes over to the next pair needs nobody for it, and meets nothing of what was
// under way on the one before.
#pragma once

#include <mpi.h>

#include <array>
#include <chrono>
#include <deque>
#include <string>

#include "parallel/backoff.h"
#include "runtime/status.h"

namespace folkmoot {

// Of an MPI call's return value, in words.
std::string MpiErrorText(int error);

struct MpiChannel {
  static constexpr size_t kNoticeBytes = 1024;
  static constexpr int kNoticeTag = 0;

  MPI_Comm data = MPI_COMM_NULL;
  MPI_Comm notices = MPI_COMM_NULL;  // apart, so that a wildcard receive meets no data
  MPI_Request notice_request = MPI_REQUEST_NULL;
  std::array<char, kNoticeBytes> notice_in{};
  std::array<char, kNoticeBytes> notice_out{};

  // Receives the notice of whoever gives up first.
  absl::Status Listen();
  // Frees what MPI holds, of a channel on which nothing has failed.
  void Free();
};

class MpiChannels {
 public:
  // Collective over the job. DeadlineExceeded when not all processes come within `timeout`.
  absl::Status Make(int count, std::chrono::milliseconds timeout, Backoff& backoff);
  // Channels that are left behind stay: MPI may still write to them.
  MpiChannel& operator[](int i) { return channels_[static_cast<size_t>(i)]; }
  int size() const { return static_cast<int>(channels_.size()); }

 private:
  std::deque<MpiChannel> channels_;
};

}  // namespace folkmoot
