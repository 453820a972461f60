// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "runtime/check.h"
#include "runtime/cuda/error.h"
#include "runtime/cuda/launch.h"
#include "runtime/fault_points.h"

namespace folkmoot::cuda {
namespace {

cudaStream_t Handle(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }

std::string Gigabytes(double bytes) { return fmt::format("{:.2f} GB", bytes / 1e9); }

absl::StatusOr<DeviceInfo> Describe(int index) {
  cudaDeviceProp properties;
  FM_CUDA_RETURN(cudaGetDeviceProperties(&properties, index), "reading the properties of a GPU");
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  info.compute_capability = properties.major * 10 + properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  info.shared_bytes_per_block = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  for (size_t i = 0; i < sizeof(properties.uuid.bytes); ++i) {
    info.uuid += fmt::format("{:02x}", static_cast<unsigned char>(properties.uuid.bytes[i]));
  }
  return info;
}

// With the device current: its free memory.
absl::StatusOr<DeviceInfo> DescribeCurrent() {
  int index = 0;
  FM_CUDA_RETURN(cudaGetDevice(&index), "asking for the current GPU");
  FM_ASSIGN_OR_RETURN(DeviceInfo info, Describe(index));
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  FM_CUDA_RETURN(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  info.free_bytes = static_cast<int64_t>(free_bytes);
  return info;
}

}  // namespace

const char* BackendName() {
#if defined(FOLKMOOT_CUDA_SIM)
  return "simulator";
#else
  return "CUDA";
#endif
}

int DriverVersion() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int RuntimeVersion() {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}

absl::StatusOr<std::vector<DeviceInfo>> ListDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();  // a sticky word of the run time
    return NoDevices(error, DriverVersion(), RuntimeVersion());
  }
  std::vector<DeviceInfo> devices;
  for (int i = 0; i < count; ++i) {
    FM_ASSIGN_OR_RETURN(devices.emplace_back(), Describe(i));
  }
  return devices;
}

absl::StatusOr<DeviceInfo> DescribeDevice(int index) {
  int before = 0;
  FM_CUDA_RETURN(cudaGetDevice(&before), "asking for the current GPU");
  FM_RETURN_IF_ERROR(UseDevice(index));
  absl::StatusOr<DeviceInfo> info = DescribeCurrent();
  FM_RETURN_IF_ERROR(UseDevice(before));
  return info;
}

absl::Status UseDevice(int index) {
  return CudaStatus(cudaSetDevice(index), fmt::format("choosing GPU {}", index));
}

absl::StatusOr<std::unique_ptr<Stream>> Stream::Create() {
  std::unique_ptr<Stream> stream(new Stream);
  FM_ASSIGN_OR_RETURN(stream->device_, DescribeCurrent());
  cudaStream_t handle = nullptr;
  FM_CUDA_RETURN(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "making a stream");
  stream->handle_ = handle;
  return stream;
}

Stream::~Stream() {
  if (handle_ != nullptr) cudaStreamDestroy(Handle(*this));
}

absl::Status Stream::Synchronize() {
  if (!status_.ok()) return status_;
  const cudaError_t error = cudaStreamSynchronize(Handle(*this));
  if (error != cudaSuccess) Fail(CudaStatus(error, "waiting for the GPU"));
  return status_;
}

bool Stream::Finished() {
  return !status_.ok() || cudaStreamQuery(Handle(*this)) != cudaErrorNotReady;
}

void Stream::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

namespace {

void Copy(Stream& stream, void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  FM_CHECK(bytes >= 0);
  if (!stream.status().ok() || bytes == 0) return;
  const cudaError_t error =
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, Handle(stream));
  if (error != cudaSuccess) stream.Fail(CudaStatus(error, fmt::format("copying {} bytes", bytes)));
}

}  // namespace

void CopyToDevice(Stream& stream, void* to, const void* from, int64_t bytes) {
  Copy(stream, to, from, bytes, cudaMemcpyHostToDevice);
}
void CopyToHost(Stream& stream, void* to, const void* from, int64_t bytes) {
  Copy(stream, to, from, bytes, cudaMemcpyDeviceToHost);
}
void CopyOnDevice(Stream& stream, void* to, const void* from, int64_t bytes) {
  Copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice);
}

void FillZero(Stream& stream, void* data, int64_t bytes) {
  FM_CHECK(bytes >= 0);
  if (!stream.status().ok() || bytes == 0) return;
  const cudaError_t error = cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), Handle(stream));
  if (error != cudaSuccess) stream.Fail(CudaStatus(error, fmt::format("zeroing {} bytes", bytes)));
}

absl::StatusOr<Memory> Memory::Allocate(int64_t bytes, const char* what, MemoryKind kind) {
  FM_CHECK(bytes >= 0);
  Memory memory;
  memory.kind_ = kind;
  if (bytes == 0) return memory;
  const bool pinned = kind == MemoryKind::kPinnedHost;
  const cudaError_t error = FaultAt(FaultPoint::kGpuAllocate) ? cudaErrorMemoryAllocation
                            : pinned ? cudaMallocHost(&memory.data_, static_cast<size_t>(bytes))
                                     : cudaMalloc(&memory.data_, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    if (pinned) {
      return ResourceExhausted(
          "{} needs {} of pinned host memory, which the system does not give: free memory of the "
          "host, or raise the limit of locked memory (ulimit -l)",
          what, Gigabytes(static_cast<double>(bytes)));
    }
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    if (cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) free_bytes = total_bytes = 0;
    return ResourceExhausted(
        "{} needs {} of GPU memory; {} of {} are free: use more ranks (fewer experts on each), a "
        "smaller --max-model-len or --gpu-memory-utilization, or end other programs on this GPU",
        what, Gigabytes(static_cast<double>(bytes)), Gigabytes(static_cast<double>(free_bytes)),
        Gigabytes(static_cast<double>(total_bytes)));
  }
  FM_CUDA_RETURN(error,
                 fmt::format("allocating {} for {}", Gigabytes(static_cast<double>(bytes)), what));
  memory.bytes_ = bytes;
  return memory;
}

Memory& Memory::operator=(Memory&& other) noexcept {
  if (this == &other) return *this;
  Free();
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  kind_ = other.kind_;
  return *this;
}

void Memory::Free() {
  if (data_ == nullptr) return;
  // Errors here are those of earlier work, which its stream reports.
  if (kind_ == MemoryKind::kPinnedHost) {
    cudaFreeHost(data_);
  } else {
    cudaFree(data_);
  }
  data_ = nullptr;
}

}  // namespace folkmoot::cuda
