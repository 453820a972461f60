// SPDX-License-Identifier: Apache-2.0
// The ranks of a host communicator, on their GPUs: exchanges of device memory on a stream, by NCCL.
// One rank per GPU.
//
// NCCL reports neither a peer that is gone nor one that never comes: its kernel waits for ever. So
// the communicator is made non-blocking, and every wait is ours: it polls the stream, NCCL's own
// errors and the peers' processes, and has the deadline of the host communicator. Then the ranks
// that still answer tell each other where they are, NCCL is told to abort, which ends its kernels,
// and the error says who is missing, in which layer and phase. The communicator is then broken for
// good, and the peers hear of it through the host communicator.
//
// Exchanges are enqueued in stream order and can be recorded in a graph; then all ranks record them
// and all launch the graph. One thread per rank, the one that uses the device; all ranks make the
// same calls in the same order. AllToAllV is matched by pairs: a rank with nothing to move may
// leave it out.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "parallel/backoff.h"
#include "parallel/communicator.h"
#include "parallel/nccl_api.h"
#include "runtime/cuda/device.h"
#include "runtime/status.h"

namespace folkmoot {

struct NcclOptions {
  // Several ranks on one GPU: only for tests. NCCL itself refuses it unless each process has an
  // NCCL_HOSTID of its own.
  bool allow_shared_gpu = false;
  int max_ctas = 0;  // thread blocks that NCCL may use; 0: its own choice
  std::chrono::milliseconds setup_timeout = std::chrono::seconds(120);
};

// A piece of device memory.
struct DeviceRange {
  void* data = nullptr;
  int64_t bytes = 0;
};

// What AllGather brings from every rank: `bytes` from send, to recv + rank * bytes.
struct GatherPart {
  const void* send = nullptr;
  void* recv = nullptr;
  int64_t bytes = 0;
};

class NcclCommunicator {
 public:
  // Collective over `host`, also for a rank that has no NCCL (`api` then says why): all ranks fail
  // together, with the names of those that lack it, have another version, or share a GPU. `host`
  // must outlive the result. `stream` is used for a first exchange, which sets up the connections;
  // `device` is the GPU of the stream.
  static absl::StatusOr<std::unique_ptr<NcclCommunicator>> Create(
      const absl::StatusOr<NcclApi>& api, Communicator& host, const cuda::DeviceInfo& device,
      cuda::Stream& stream, const NcclOptions& options = {});
  // Ends NCCL's part: in peace when nothing failed, by abort else.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const { return host_.rank(); }
  int size() const { return host_.size(); }
  // OK, or the error that broke the communicator.
  const absl::Status& status() const { return broken_; }

  // Sends `bytes` from send + q * bytes to every rank q, which finds them at recv + rank() * bytes.
  absl::Status AllToAll(cuda::Stream& stream, const void* send, void* recv, int64_t bytes,
                        const WaitLabel& label);
  // All parts in one launch.
  absl::Status AllGather(cuda::Stream& stream, std::span<const GatherPart> parts,
                         const WaitLabel& label);
  // n ranges for each rank, with lengths that both sides know: entry i * size() + q is the i-th for
  // rank q. Empty ranges cost nothing; the range for this rank itself is copied.
  absl::Status AllToAllV(cuda::Stream& stream, std::span<const DeviceRange> send,
                         std::span<const DeviceRange> recv, const WaitLabel& label);

  // Returns when the stream is done, or with what went wrong, at the latest at the deadline of the
  // host communicator. `label` is asked for when there is an error: how far the device has come.
  absl::Status Wait(cuda::Stream& stream, absl::FunctionRef<WaitLabel()> label);

  // Gives up: NCCL's kernels end, the peers are told. Returns the error that stays.
  absl::Status Abandon(const absl::Status& reason);

 private:
  NcclCommunicator(Communicator& host, NcclApi api) : host_(host), api_(std::move(api)) {}

  absl::Status Connect(cuda::Stream& stream, const NcclOptions& options);
  absl::StatusOr<NcclUniqueId> ShareId();
  absl::Status FirstExchange(cuda::Stream& stream);
  // Polls until NCCL has taken in `call`, which answered `result`.
  absl::Status Ready(NcclResult result, const char* call, const WaitLabel& label);
  absl::Status Grouped(absl::FunctionRef<NcclResult()> calls, const char* call,
                       const WaitLabel& label);
  absl::Status AsyncError(const WaitLabel& label) const;
  absl::Status RollCall(const WaitLabel& label);
  absl::Status Failure(NcclResult result, const char* call, const WaitLabel& label) const;

  Communicator& host_;
  const NcclApi api_;
  NcclComm comm_ = nullptr;
  absl::Status broken_;
  Backoff backoff_;
};

}  // namespace folkmoot
