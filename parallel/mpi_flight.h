// SPDX-License-Identifier: Apache-2.0
// One exchange under way over MPI: a message per peer and piece of its byte range.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "parallel/communicator.h"

namespace folkmoot {

// One MPI message: a whole byte range or a chunk of it.
struct MpiPiece {
  int peer = 0;  // its rank in the group
  bool receive = false;
  int bytes = 0;
};

// Where the messages of an exchange with one peer go.
struct MpiRoute {
  MPI_Comm comm = MPI_COMM_NULL;
  int peer = 0;     // rank in the group
  int process = 0;  // rank in `comm`
  int tag = 0;
  int64_t chunk_bytes = 0;  // longer ranges travel in pieces
};

// Flights form a pool; their vectors keep their capacity.
struct MpiFlight {
  bool active = false;
  WaitLabel label;
  std::vector<MPI_Request> requests;
  std::vector<MpiPiece> pieces;  // of the same index as the request

  void Begin(const WaitLabel& name);
  // Chunks of one message share a tag: MPI keeps their order. MPI's return value.
  int Receive(const MpiRoute& route, MutableBytes range);
  int Send(const MpiRoute& route, ConstBytes range);
  // Withdraws receives that have met no message, since their memory may be freed once the caller
  // has an error; sends cannot be.
  void Withdraw();
  // After Withdraw: will MPI write to none of the buffers any more? `over`: from this peer nothing
  // more can come. Lets MPI work.
  bool Quiet(absl::FunctionRef<bool(int peer)> over);
};

}  // namespace folkmoot
