// SPDX-License-Identifier: Apache-2.0
#include "parallel/mpi_channels.h"

#include "parallel/communicator.h"

namespace folkmoot {
namespace {

constexpr WaitLabel kSetUp{.phase = "set-up"};

// MPI_Comm_dup of all processes with a deadline.
absl::Status Duplicate(std::chrono::milliseconds timeout, Backoff& backoff, MPI_Comm* copy) {
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Request request = MPI_REQUEST_NULL;
  int error = MPI_Comm_idup(MPI_COMM_WORLD, copy, &request);
  backoff.Begin();
  for (int done = 0; error == MPI_SUCCESS && done == 0;) {
    error = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done == 0 && backoff.Pause() > timeout) {
      return DeadlineExceeded("{}: not all of {} ranks came within {}", WaitName(rank, kSetUp),
                              size, FormatDuration(timeout));
    }
  }
  if (error != MPI_SUCCESS) {
    return Unavailable("{}: MPI_Comm_idup: {}", WaitName(rank, kSetUp), MpiErrorText(error));
  }
  MPI_Comm_set_errhandler(*copy, MPI_ERRORS_RETURN);
  return absl::OkStatus();
}

}  // namespace

std::string MpiErrorText(int error) {
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  return std::string(text.data(), static_cast<size_t>(length));
}

absl::Status MpiChannel::Listen() {
  const int error = MPI_Irecv(notice_in.data(), static_cast<int>(kNoticeBytes), MPI_CHAR,
                              MPI_ANY_SOURCE, kNoticeTag, notices, &notice_request);
  return error == MPI_SUCCESS ? absl::OkStatus()
                              : Unavailable("MPI_Irecv: {}", MpiErrorText(error));
}

void MpiChannel::Free() {
  if (notice_request != MPI_REQUEST_NULL) {
    MPI_Cancel(&notice_request);
    // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): Listen has posted it
    MPI_Wait(&notice_request, MPI_STATUS_IGNORE);
  }
  MPI_Comm_free(&notices);
  MPI_Comm_free(&data);
}

absl::Status MpiChannels::Make(int count, std::chrono::milliseconds timeout, Backoff& backoff) {
  for (int i = 0; i < count; ++i) {
    MpiChannel& channel = channels_.emplace_back();
    FM_RETURN_IF_ERROR(Duplicate(timeout, backoff, &channel.data));
    FM_RETURN_IF_ERROR(Duplicate(timeout, backoff, &channel.notices));
  }
  return absl::OkStatus();
}

}  // namespace folkmoot
