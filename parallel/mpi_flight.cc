// SPDX-License-Identifier: Apache-2.0
#include "parallel/mpi_flight.h"

#include <algorithm>

namespace folkmoot {

void MpiFlight::Begin(const WaitLabel& name) {
  active = true;
  label = name;
  requests.clear();
  pieces.clear();
}

int MpiFlight::Receive(const MpiRoute& route, MutableBytes range) {
  while (!range.empty()) {
    const size_t bytes = std::min(range.size(), static_cast<size_t>(route.chunk_bytes));
    pieces.push_back({route.peer, /*receive=*/true, static_cast<int>(bytes)});
    requests.push_back(MPI_REQUEST_NULL);
    const int error = MPI_Irecv(range.data(), static_cast<int>(bytes), MPI_BYTE, route.process,
                                route.tag, route.comm, &requests.back());
    if (error != MPI_SUCCESS) return error;
    range = range.subspan(bytes);
  }
  return MPI_SUCCESS;
}

int MpiFlight::Send(const MpiRoute& route, ConstBytes range) {
  while (!range.empty()) {
    const size_t bytes = std::min(range.size(), static_cast<size_t>(route.chunk_bytes));
    pieces.push_back({route.peer, /*receive=*/false, static_cast<int>(bytes)});
    requests.push_back(MPI_REQUEST_NULL);
    const int error = MPI_Isend(range.data(), static_cast<int>(bytes), MPI_BYTE, route.process,
                                route.tag, route.comm, &requests.back());
    if (error != MPI_SUCCESS) return error;
    range = range.subspan(bytes);
  }
  return MPI_SUCCESS;
}

void MpiFlight::Withdraw() {
  for (size_t i = 0; active && i < requests.size(); ++i) {
    if (!pieces[i].receive || requests[i] == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&requests[i]);
    int done = 0;
    MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
  }
}

bool MpiFlight::Quiet(absl::FunctionRef<bool(int peer)> over) {
  bool quiet = true;
  for (size_t i = 0; active && i < requests.size(); ++i) {
    if (!pieces[i].receive || requests[i] == MPI_REQUEST_NULL) continue;
    int done = 0;
    MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
    quiet = quiet && (done != 0 || over(pieces[i].peer));
  }
  return quiet;
}

}  // namespace folkmoot
