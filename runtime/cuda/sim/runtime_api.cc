// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/sim/runtime_api.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "runtime/cuda/sim/options.h"
#include "runtime/cuda/sim/runtime_state.h"

using folkmoot::cuda::sim::Options;

namespace folkmoot::cuda::sim {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int this_device = 0;
thread_local std::string last_failure;

// What was allocated, for all devices.
struct Allocations {
  std::mutex mutex;
  struct Piece {
    size_t bytes;
    int device;  // -1: of the host
  };
  std::map<void*, Piece> pieces;
  std::map<int, size_t> used;
};
Allocations& AllAllocations() {
  static auto* allocations = new Allocations;  // outlives everything static
  return *allocations;
}

cudaError_t Allocate(void** data, size_t bytes, int device) {
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  Allocations& all = AllAllocations();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto capacity = static_cast<size_t>(Options().memory_bytes);
  if (device >= 0 && (bytes > capacity || all.used[device] > capacity - bytes)) {
    return Report(cudaErrorMemoryAllocation);
  }
  if (posix_memalign(data, 256, bytes) != 0) return Report(cudaErrorMemoryAllocation);
  if (device >= 0) std::memset(*data, kPoisonByte, bytes);
  all.pieces[*data] = {bytes, device};
  all.used[device] += bytes;
  return cudaSuccess;
}

cudaError_t Release(void* data, bool on_device) {
  if (data == nullptr) return cudaSuccess;
  Allocations& all = AllAllocations();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.pieces.find(data);
  if (found == all.pieces.end() || (found->second.device >= 0) != on_device) {
    return Report(cudaErrorInvalidValue);
  }
  all.used[found->second.device] -= found->second.bytes;
  all.pieces.erase(found);
  std::free(data);
  return cudaSuccess;
}

int64_t Variable(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atoll(text);
}

cudaError_t CheckConfig(const GridLaunch& launch) {
  const uint64_t threads = uint64_t{launch.block.x} * launch.block.y * launch.block.z;
  if (launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.z == 0 || threads == 0 ||
      threads > 1024 || launch.block.z > 64 || launch.grid.x > 0x7fffffffu ||
      launch.grid.y > 65535 || launch.grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (launch.shared_bytes > static_cast<size_t>(Options().shared_bytes_per_block)) {
    return cudaErrorInvalidValue;
  }
  if (launch.cooperative) {
    int blocks = 0;
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, launch.kernel, static_cast<int>(threads),
                                                  launch.shared_bytes);
    if (uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z >
        static_cast<uint64_t>(blocks) * static_cast<uint64_t>(Options().multiprocessors)) {
      return cudaErrorCooperativeLaunchTooLarge;
    }
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t Report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

SimOptions& Options() {
  static SimOptions options = [] {
    SimOptions o;
    o.seed = static_cast<uint64_t>(Variable("FOLKMOOT_SIM_SEED", static_cast<int64_t>(o.seed)));
    o.devices = static_cast<int>(Variable("FOLKMOOT_SIM_DEVICES", o.devices));
    o.compute_capability =
        static_cast<int>(Variable("FOLKMOOT_SIM_CAPABILITY", o.compute_capability));
    o.multiprocessors =
        static_cast<int>(Variable("FOLKMOOT_SIM_MULTIPROCESSORS", o.multiprocessors));
    o.memory_bytes = Variable("FOLKMOOT_SIM_MEMORY", o.memory_bytes);
    o.spin_seconds = static_cast<int>(Variable("FOLKMOOT_SIM_SPIN_SECONDS", o.spin_seconds));
    return o;
  }();
  return options;
}

int64_t LiveAllocations() {
  Allocations& all = AllAllocations();
  const std::lock_guard<std::mutex> lock(all.mutex);
  return static_cast<int64_t>(all.pieces.size());
}

const std::string& LastFailure() { return last_failure; }

cudaError_t LaunchGrid(const cudaLaunchConfig_t& config, const void* kernel,
                       std::function<void()> body) {
  GridLaunch launch;
  launch.grid = config.gridDim;
  launch.block = config.blockDim;
  launch.shared_bytes = config.dynamicSmemBytes;
  launch.kernel = kernel;
  launch.body = std::move(body);
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id == cudaLaunchAttributeCooperative) {
      launch.cooperative = config.attrs[i].val.cooperative != 0;
    }
  }
  if (const cudaError_t error = CheckConfig(launch); error != cudaSuccess) return Report(error);
  return Do(config.stream, cudaGraphNodeTypeKernel, [launch = std::move(launch)] {
    std::string failure = RunGrid(launch);
    if (failure.empty()) return cudaSuccess;
    last_failure = std::move(failure);
    return cudaErrorLaunchFailure;
  });
}

}  // namespace folkmoot::cuda::sim

using folkmoot::cuda::sim::Allocate;
using folkmoot::cuda::sim::Do;
using folkmoot::cuda::sim::last_error;
using folkmoot::cuda::sim::last_failure;
using folkmoot::cuda::sim::Release;
using folkmoot::cuda::sim::Report;
using folkmoot::cuda::sim::this_device;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorCooperativeLaunchTooLarge:
      return "cudaErrorCooperativeLaunchTooLarge";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaError";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorCooperativeLaunchTooLarge:
      return "too many blocks in cooperative launch";
    case cudaErrorLaunchFailure:
      return last_failure.c_str();
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = Options().devices;
  return *count > 0 ? cudaSuccess : Report(cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= Options().devices) return Report(cudaErrorInvalidDevice);
  *properties = {};
  std::strncpy(properties->name, "simulated GPU", sizeof(properties->name) - 1);
  properties->uuid.bytes[15] = static_cast<char>(device);
  properties->totalGlobalMem = static_cast<size_t>(Options().memory_bytes);
  properties->sharedMemPerBlockOptin = static_cast<size_t>(Options().shared_bytes_per_block);
  properties->major = Options().compute_capability / 10;
  properties->minor = Options().compute_capability % 10;
  properties->multiProcessorCount = Options().multiprocessors;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= Options().devices) return Report(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = Options().multiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = Options().compute_capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = Options().compute_capability % 10;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(Options().shared_bytes_per_block);
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= Options().devices) return Report(cudaErrorInvalidDevice);
  this_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = this_device;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  auto& all = folkmoot::cuda::sim::AllAllocations();
  const std::lock_guard<std::mutex> lock(all.mutex);
  *total = static_cast<size_t>(Options().memory_bytes);
  const size_t used = all.used[this_device];
  *free = used < *total ? *total - used : 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) { return Allocate(data, bytes, this_device); }
cudaError_t cudaFree(void* data) { return Release(data, true); }
cudaError_t cudaMallocHost(void** data, size_t bytes) { return Allocate(data, bytes, -1); }
cudaError_t cudaFreeHost(void* data) { return Release(data, false); }

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return Do(stream, cudaGraphNodeTypeMemcpy, [=] {
    if (bytes > 0) std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}
cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  return cudaMemsetAsync(data, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return Do(stream, cudaGraphNodeTypeMemset, [=] {
    if (bytes > 0) std::memset(data, value, bytes);
    return cudaSuccess;
  });
}
