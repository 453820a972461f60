// SPDX-License-Identifier: Apache-2.0
// A GPU as the rest of the program sees it: its description, a stream of work, memory, copies, and
// recorded graphs. No CUDA type shows here, so that callers compile on any machine; the program is
// linked with one of two implementations, CUDA or the simulator (runtime/cuda/sim), or with none.
//
// Threads: one thread per rank uses a device and everything made for it.
//
// Errors: launches and copies are asynchronous. The first that fails is kept by the stream, later
// work on it is dropped, and Synchronize() and status() return it. A sticky error (an illegal
// address) ends the rank: nothing on the device can be trusted after it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/status.h"

namespace folkmoot::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;
  int compute_capability = 0;  // 90 for sm_90
  int multiprocessors = 0;
  int64_t total_bytes = 0;
  int64_t free_bytes = -1;             // -1: not asked for
  int64_t shared_bytes_per_block = 0;  // the most that a kernel may ask for
  std::string uuid;                    // the same GPU has the same one in every process
};

// "CUDA" or "simulator".
const char* BackendName();
// Of the CUDA driver and run time, as 13000 for 13.0; 0: none.
int DriverVersion();
int RuntimeVersion();
// Unavailable, with the reason and the remedy, when there is no driver, it is too old, or no GPU
// can be used. Free memory is not asked for: that starts a context on each GPU, and every rank of a
// host lists them all.
absl::StatusOr<std::vector<DeviceInfo>> ListDevices();
// One of them, with what is free now.
absl::StatusOr<DeviceInfo> DescribeDevice(int index);
// Makes the device current for the calling thread, which must be the one that uses it.
absl::Status UseDevice(int index);

// Work in order. Not copyable; outlives everything that was started on it.
class Stream {
 public:
  static absl::StatusOr<std::unique_ptr<Stream>> Create();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const DeviceInfo& device() const { return device_; }
  // Waits for everything before; returns the first error since the stream was made.
  absl::Status Synchronize();
  // Whether everything before is done, without waiting; what has failed is done. Not while
  // recording.
  bool Finished();
  // The error known so far, without waiting.
  const absl::Status& status() const { return status_; }
  // For implementations: cudaStream_t; keeps the first error, named after what was being done.
  void* handle() const { return handle_; }
  void Fail(absl::Status status);

 private:
  Stream() = default;
  void* handle_ = nullptr;
  DeviceInfo device_;
  absl::Status status_;
};

void CopyToDevice(Stream& stream, void* to, const void* from, int64_t bytes);
void CopyToHost(Stream& stream, void* to, const void* from, int64_t bytes);
void CopyOnDevice(Stream& stream, void* to, const void* from, int64_t bytes);
void FillZero(Stream& stream, void* data, int64_t bytes);

enum class MemoryKind : uint8_t { kDevice, kPinnedHost };

// Owns bytes, 256-byte aligned; kPinnedHost can be touched by the host, and copies from and to it
// are asynchronous. Must not outlive the device's last use of it (synchronize first).
class Memory {
 public:
  Memory() = default;
  // ResourceExhausted, with the sizes and `what`, when there is not enough.
  static absl::StatusOr<Memory> Allocate(int64_t bytes, const char* what,
                                         MemoryKind kind = MemoryKind::kDevice);
  ~Memory() { Free(); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void Free();
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::kDevice;
};

// A recorded sequence of launches and copies, started as one.
class Graph {
 public:
  // Records what `work` starts on `stream`; nothing runs. `work` must neither synchronise nor
  // allocate.
  static absl::StatusOr<std::unique_ptr<Graph>> Record(Stream& stream,
                                                       absl::FunctionRef<void()> work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void Launch(Stream& stream) const;
  int kernels() const { return kernels_; }  // kernel launches in it

 private:
  Graph() = default;
  void* executable_ = nullptr;
  int kernels_ = 0;
};

// Seconds between two points of a stream, measured by the device.
class Timer {
 public:
  static absl::StatusOr<std::unique_ptr<Timer>> Create();
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void Start(Stream& stream);
  void Stop(Stream& stream);
  // Waits for the stop.
  absl::StatusOr<double> Seconds();

 private:
  Timer() = default;
  void* begin_ = nullptr;
  void* end_ = nullptr;
};

}  // namespace folkmoot::cuda
